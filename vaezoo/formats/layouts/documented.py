"""Layout `documented`: the checkpoint names of explainingai-code/StableDiffusion-PyTorch, `models/vae.py`."""

import re

from vaezoo.errors import CheckpointError
from vaezoo.formats.layouts.engine import Part, Shapes, check_order
from vaezoo.specs.model import BlockSpec, ModelSpec

# What a row's own part of a key becomes, e.g. "layers.0.norm1.weight" -> "resnet_conv_first.0.0.weight"
_PARTS = [
    (r"layers\.(\d+)\.norm1\.(\w+)", r"resnet_conv_first.\1.0.\2"),
    (r"layers\.(\d+)\.conv1\.(\w+)", r"resnet_conv_first.\1.2.\2"),
    (r"layers\.(\d+)\.norm2\.(\w+)", r"resnet_conv_second.\1.0.\2"),
    (r"layers\.(\d+)\.conv2\.(\w+)", r"resnet_conv_second.\1.2.\2"),
    (r"layers\.(\d+)\.skip\.(\w+)", r"residual_input_conv.\1.\2"),
    (r"attentions\.(\d+)\.norm\.(\w+)", r"attention_norms.\1.\2"),
    (r"attentions\.(\d+)\.qkv\.(\w+)", r"attentions.\1.in_proj_\2"),
    (r"attentions\.(\d+)\.proj\.(\w+)", r"attentions.\1.out_proj.\2"),
]
_LAYERS = {"norm": "group", "eps": 1e-5, "act": "silu"}
_FITTING = {  # what the network this layout was made for fixes, by block
    "conv": {},
    "head": {**_LAYERS, "kernel": 3},
    "down": {**_LAYERS, "skip": "conv", "resample": (None, "conv_4x4"), "heads": None},
    "mid": {**_LAYERS, "skip": "conv"},
    "up": {**_LAYERS, "skip": "conv", "resample": (None, "conv_transpose_4x4"), "heads": None},
}
_ORDER = {"encoder": r"conv( down)+( mid)+ head conv", "decoder": r"conv conv( mid)+( up)+ head"}


def documented(spec: ModelSpec, shapes: Shapes) -> list[Part]:
    """The names of the documented VAE.

    Raises:
        CheckpointError: If the network is not of that kind: other latents, rows, shortcuts, resamplers, norms, acts.
    """
    if spec.latent.kind != "gaussian":
        raise CheckpointError(f"layout documented cannot express latent.kind: {spec.latent.kind!r}")
    prefixes = {**_prefixes(spec, "encoder"), **_prefixes(spec, "decoder")}
    return [Part(key, (_rename(key, prefixes),), shape) for key, shape in shapes.items()]


def _prefixes(spec: ModelSpec, half: str) -> dict[tuple[str, str], tuple[str, str]]:
    """(half, row index) -> (block, the row's name in the layout)."""
    rows = getattr(spec, half)
    check_order("documented", half, rows, _ORDER[half])
    _check_kernels(rows, half)
    counts = {"conv": 0, "down": 0, "mid": 0, "up": 0, "head": 0}
    names = {}
    for index, row in enumerate(rows):
        _check_row(row, f"{half}[{index}]")
        names[half, str(index)] = row.block, _row_name(half, row.block, counts[row.block])
        counts[row.block] += 1
    return names


def _row_name(half: str, block: str, count: int) -> str:
    convs = {"encoder": ("encoder_conv_in", "pre_quant_conv"), "decoder": ("post_quant_conv", "decoder_conv_in")}
    if block == "conv":
        return convs[half][count]
    names = {"down": f"{half}_layers_{count}", "up": f"{half}_layers_{count}", "mid": f"{half}_mids_{count}"}
    return names.get(block, half)


def _check_kernels(rows: tuple[BlockSpec, ...], half: str) -> None:
    kernels = [row.arguments["kernel"] for row in rows if row.block == "conv"]
    expected = [3, 1] if half == "encoder" else [1, 3]
    if kernels != expected:
        raise CheckpointError(f"layout documented: the {half}'s convolutions have kernels {expected}, here {kernels}")


def _check_row(row: BlockSpec, path: str) -> None:
    if row.block == "mid" and row.arguments["heads"] == 0:
        raise CheckpointError(f"layout documented cannot express {path}.heads: 0; its mid blocks always attend")
    if extra := row.arguments.keys() - {"out", "layers", "groups", "heads", "kernel", *_FITTING[row.block]}:
        raise CheckpointError(f"layout documented cannot express {path}.{min(extra)}")
    for key, fitting in _FITTING[row.block].items():
        value = row.arguments.get(key)
        if value not in (fitting if isinstance(fitting, tuple) else (fitting,)):
            raise CheckpointError(f"layout documented cannot express {path}.{key}: {value!r}")


def _rename(key: str, prefixes: dict[tuple[str, str], tuple[str, str]]) -> str:
    half, index, part = key.split(".", 2)
    block, name = prefixes[half, index]
    if block == "conv":
        return f"{name}.{part}"
    if block == "head":
        return re.sub(r"(norm|conv)\.", rf"{half}_\1_out.", part)
    for pattern, replacement in [*_PARTS, (r"resample\.(\w+)", rf"{block}_sample_conv.\1")]:
        if re.fullmatch(pattern, part):
            return f"{name}.{re.sub(pattern, replacement, part)}"
    raise CheckpointError(f"layout documented has no name for {key}")
