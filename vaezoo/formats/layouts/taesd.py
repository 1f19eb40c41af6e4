"""Layouts of the TAESD family: modules of a half counted through, weightless ones too.

Sources: madebyollin/taesd@5cccb12d `taesd.py`; huggingface/diffusers@58eb52c0
`scripts/convert_tiny_autoencoder_to_diffusers.py`.
"""

from collections.abc import Mapping
from typing import Any

from vaezoo.formats.layouts.engine import Part, Shapes, check_order, check_values
from vaezoo.specs.model import HALVES, BlockSpec, ModelSpec

_ROWS = {
    "encoder": r"rescale conv (tiny_down )+conv|rescale (conv_act )+(tiny_down )+conv",
    "decoder": r"clamp conv_act (tiny_up )+conv rescale",
}
_PLAIN_ROWS = {**_ROWS, "encoder": r"rescale conv (tiny_down )+conv"}
_LAYER = {"conv1": "conv.0", "conv2": "conv.2", "conv3": "conv.4", "skip": "skip"}
_POOL = {"conv1": "pool.0", "norm": "pool.1", "conv2": "pool.3"}
_FITS = {
    "act": ("relu",),
    "kernel": (3,),
    "resample": (None, "conv_3x3_no_bias", "nearest_conv_3x3_no_bias"),
    "limit": (3.0,),
}
_PLAIN = {"pool_groups": (), "resample_out": ()}
_RANGES = {"encoder": {"gain": (0.5,), "offset": (0.5,)}, "decoder": {"gain": (2.0,), "offset": (-1.0,)}}


def taesd(spec: ModelSpec, shapes: Shapes) -> list[Part]:
    """The names of TAESD's own files, `1.weight`, with the half before them.

    Raises:
        CheckpointError: If the network is not of that kind.
    """
    _check("taesd", spec, _ROWS, _FITS)
    return _parts(spec, shapes, {half: f"{half}.{{}}" for half in HALVES}, clamps=1)


def diffusers_tiny(spec: ModelSpec, shapes: Shapes) -> list[Part]:
    """The names of diffusers' AutoencoderTiny.

    Raises:
        CheckpointError: If the network is not of that kind.
    """
    _check("diffusers", spec, _PLAIN_ROWS, {**_FITS, **_PLAIN})
    return _parts(spec, shapes, {half: f"{half}.layers.{{}}" for half in HALVES}, clamps=0)


def _check(layout: str, spec: ModelSpec, orders: Mapping[str, str], fits: Mapping[str, tuple[Any, ...]]) -> None:
    for half in HALVES:
        rows = getattr(spec, half)
        check_order(layout, half, rows, orders[half])
        for index, row in enumerate(rows):
            check_values(layout, f"{half}[{index}]", row.arguments, {**fits, **_RANGES[half]})


def _parts(spec: ModelSpec, shapes: Shapes, templates: Mapping[str, str], clamps: int) -> list[Part]:
    starts = {}
    for half in HALVES:
        count = 0
        for index, row in enumerate(getattr(spec, half)):
            starts[half, str(index)] = count
            count += _modules(row, clamps)
    parts = []
    for key, shape in shapes.items():
        half, index, rest = key.split(".", 2)
        row = getattr(spec, half)[int(index)]
        offset, name = _inside(row, rest)
        parts.append(Part(key, (f"{templates[half].format(starts[half, index] + offset)}.{name}",), shape))
    return parts


def _modules(row: BlockSpec, clamps: int) -> int:
    """How many modules a row is in a sequence of them."""
    resampled = row.arguments.get("resample") is not None
    counts = {"rescale": 0, "clamp": clamps, "conv": 1, "conv_act": 2}  # a convolution and an activation
    if row.block in counts:
        return counts[row.block]
    return row.arguments["layers"] + resampled * (2 if row.block == "tiny_up" else 1)  # an upsampling and a convolution


def _inside(row: BlockSpec, rest: str) -> tuple[int, str]:
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
