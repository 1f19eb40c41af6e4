"""Layouts of the TAESD family: modules of a half counted through, weightless ones too.

Sources: madebyollin/taesd@5cccb12d `taesd.py`; huggingface/diffusers@58eb52c0
`scripts/convert_tiny_autoencoder_to_diffusers.py`.
"""

import re

from vaezoo.errors import CheckpointError
from vaezoo.specs.model import HALVES, ModelSpec, Row
from vaezoo.weights.layouts.part import Part, Shapes

_ROWS = {
    "encoder": r"rescale conv (tiny_down )+conv|rescale (conv_act )+(tiny_down )+conv",
    "decoder": r"clamp conv_act (tiny_up )+conv rescale",
}
_LAYER = {"conv1": "conv.0", "conv2": "conv.2", "conv3": "conv.4", "skip": "skip"}
_POOL = {"conv1": "pool.0", "norm": "pool.1", "conv2": "pool.3"}
_FITS = {"act": ("relu",), "resample": (None, "conv_3x3_no_bias", "nearest_conv_3x3_no_bias"), "limit": (3.0,)}
_RANGES = {"encoder": (0.5, 0.5), "decoder": (2.0, -1.0)}


def taesd(spec: ModelSpec, shapes: Shapes) -> list[Part]:
    """The names of TAESD's own files, `1.weight`, with the half before them.

    Raises:
        CheckpointError: If the network is not of that kind.
    """
    return _parts("taesd", spec, shapes, {half: f"{half}.{{}}" for half in HALVES}, clamps=1)


def diffusers_tiny(spec: ModelSpec, shapes: Shapes) -> list[Part]:
    """The names of diffusers' AutoencoderTiny.

    Raises:
        CheckpointError: If the network is not of that kind.
    """
    for half in HALVES:
        for index, row in enumerate(getattr(spec, half)):
            odd = row.arguments.keys() & {"pool_groups", "resample_out"} or (
                row.block == "conv_act" and half == "encoder"
            )
            if odd:
                raise CheckpointError(
                    f"layout diffusers cannot express {half}[{index}] ({row.block} with {row.arguments})"
                )
    return _parts("diffusers", spec, shapes, {half: f"{half}.layers.{{}}" for half in HALVES}, clamps=0)


def _parts(layout: str, spec: ModelSpec, shapes: Shapes, templates: dict[str, str], clamps: int) -> list[Part]:
    starts = {}
    for half in HALVES:
        rows = getattr(spec, half)
        _check(layout, rows, half)
        count = 0
        for index, row in enumerate(rows):
            starts[half, str(index)] = count
            count += _modules(row, clamps)
    parts = []
    for key, shape in shapes.items():
        half, index, rest = key.split(".", 2)
        row = getattr(spec, half)[int(index)]
        offset, name = _inside(row, rest)
        parts.append(Part(key, (f"{templates[half].format(starts[half, index] + offset)}.{name}",), shape))
    return parts


def _modules(row: Row, clamps: int) -> int:
    """How many modules a row is in a sequence of them."""
    resampled = row.arguments.get("resample") is not None
    counts = {"rescale": 0, "clamp": clamps, "conv": 1, "conv_act": 2}  # a convolution and an activation
    if row.block in counts:
        return counts[row.block]
    return row.arguments["layers"] + resampled * (2 if row.block == "tiny_up" else 1)  # an upsampling and a convolution


def _inside(row: Row, rest: str) -> tuple[int, str]:
    """A tensor's module within its row, and its name there."""
    layers, resampled = row.arguments.get("layers", 0), row.arguments.get("resample") is not None
    if rest.startswith("resample."):
        return (1 if row.block == "tiny_up" else layers), rest.removeprefix("resample.")
    if not rest.startswith("layers."):
        return 0, rest
    _, r, sub, leaf = rest.split(".", 3)
    before = 2 * resampled if row.block == "tiny_up" else 0
    if sub == "pool":
        sub, _, leaf = leaf.partition(".")
        return before + int(r), f"{_POOL[sub]}.{leaf}"
    return before + int(r), f"{_LAYER[sub]}.{leaf}"


def _check(layout: str, rows: tuple[Row, ...], half: str) -> None:
    if not re.fullmatch(_ROWS[half], " ".join(row.block for row in rows)):
        raise CheckpointError(f"layout {layout}: the {half} must be {_ROWS[half]}, row by row")
    for index, row in enumerate(rows):
        ranges = (row.arguments["gain"], row.arguments["offset"]) if row.block == "rescale" else _RANGES[half]
        odd = [key for key, allowed in _FITS.items() if row.arguments.get(key, allowed[0]) not in allowed]
        if odd or ranges != _RANGES[half] or row.arguments.get("kernel", 3) != 3:
            raise CheckpointError(f"layout {layout} cannot express {half}[{index}] ({row.block} with {row.arguments})")
