"""Layouts of the DC-AE family: stages of layers and a resampler, and what stands before and after them.

Sources: mit-han-lab/efficientvit `efficientvit/models/efficientvit/dc_ae.py`, `efficientvit/models/nn/ops.py`;
huggingface/diffusers@58eb52c0 `scripts/convert_dcae_to_diffusers.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vaezoo.errors import CheckpointError
from vaezoo.formats.layouts.engine import Part, Shapes, check_order, check_values
from vaezoo.specs.model import HALVES, BlockSpec, ModelSpec

_ROWS = {
    "encoder": r"(conv|downsample) ((dc|vit)_down )+conv",
    "decoder": r"conv ((dc|vit)_up )+(head|norm_act upsample)",
}
_STAGES = ("dc_down", "dc_up", "vit_down", "vit_up")
_SHORTCUTS = {"encoder": "average", "decoder": "duplicate"}  # of the convolution beside the latents
_FITS = {"eps": (1e-5,), "norm": ("rms", "batch"), "act": ("silu", "relu"), "expand": (4,), "kernel": (3,)}
_RESAMPLERS = (
    *(None, "conv_3x3_average", "conv_3x3_unshuffle_average"),
    *("nearest_conv_3x3_duplicate", "conv_3x3_shuffle_duplicate"),
)


@dataclass(frozen=True, kw_only=True)
class DeepDialect:
    """Names of the tensors of a DC-AE.

    Templates may hold `{half}`, `{stage}` (0 is the full resolution) and `{r}` (layers and resamplers of a stage).

    Args:
        name: Of the layout, for errors.
        layer: Half to the template of a layer or resampler.
        resample: Names of the convolution within a resampler: that of a strided one, and that of any other.
        ends: Names of what is no stage, by half and what it is.
        inside: Names within a layer; `qkv` is a tuple where they are kept apart, and `fused` the name under which some
            files keep them together.
        linear: Whether attention has linear layers, not 1x1 convolutions.
        tails: Resamplers that a row of their own may have.
        bare: Whether the convolutions beside the latents may be without shortcuts.
        fits: Values that rows may have, by key, beside those of all dialects.
    """

    name: str
    layer: Mapping[str, str]
    resample: tuple[str, str]
    ends: Mapping[str, str]
    inside: Mapping[str, str | tuple[str, ...]]
    linear: bool
    tails: tuple[str, ...] = ("conv_3x3_unshuffle", "conv_3x3_shuffle")
    bare: bool = False
    fits: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def parts(self, spec: ModelSpec, shapes: Shapes) -> list[Part]:
        """The part of each of our tensors.

        Raises:
            CheckpointError: If the network is not of this kind.
        """
        for half in HALVES:
            self._check(getattr(spec, half), half)
        parts = []
        for key, shape in shapes.items():
            half, index, rest = key.split(".", 2)
            rows = getattr(spec, half)
            row = rows[int(index)]
            if row.block in _STAGES:
                parts.append(self._stage(key, half, row, _stage_number(rows, int(index), half), rest, shape))
                continue
            if row.block == "conv":
                what = f"{half} {'first' if index == '0' else 'last'}"
            else:
                what = f"{row.block} {rest.partition('.')[0]}"
            parts.append(Part(key, (f"{self.ends[what]}.{rest.rpartition('.')[2]}",), shape))
        return parts

    def _check(self, rows: tuple[BlockSpec, ...], half: str) -> None:
        check_order(self.name, half, rows, _ROWS[half])
        inner = len(rows) - 1 if half == "encoder" else 0
        for index, row in enumerate(rows):
            fits = {**_FITS, **self.fits, "shortcut": (_SHORTCUTS[half],) if index == inner else ()}
            if row.block in _STAGES:
                fits["resample"] = _RESAMPLERS
            if row.block in ("downsample", "upsample"):
                fits["resample"] = self.tails
            check_values(self.name, f"{half}[{index}]", row.arguments, fits)
        if "shortcut" not in rows[inner].arguments and not self.bare:
            raise CheckpointError(f"layout {self.name} cannot express {half}[{inner}] without a shortcut")

    def _stage(self, key: str, half: str, row: BlockSpec, stage: int, rest: str, shape: tuple[int, ...]) -> Part:
        layers, resampled = row.arguments["layers"], row.arguments["resample"] is not None
        name = self.layer[half]
        if rest.startswith("resample."):
            base = name.format(stage=stage, r=0 if half == "decoder" else layers)
            strided = row.arguments["resample"] == "conv_3x3_average"
            return Part(key, (f"{base}.{self.resample[0 if strided else 1]}.{rest.removeprefix('resample.')}",), shape)
        _, r, inner = rest.split(".", 2)
        base = name.format(stage=stage, r=int(r) + (resampled if half == "decoder" else 0))
        owner, _, leaf = inner.rpartition(".")
        inside = self._inside(owner)
        if isinstance(inside, tuple):
            names = tuple(f"{base}.{part}.{leaf}" for part in inside)
            return Part(
                key, names, (shape[0] // len(inside), shape[1]), f"{base}.{self.inside['attention.fused']}.{leaf}"
            )
        flat = self.linear and owner in ("attention.qkv", "attention.proj")
        return Part(key, (f"{base}.{inside}.{leaf}",), shape[:2] if flat else shape)

    def _inside(self, owner: str) -> str | tuple[str, ...]:
        """The name of a tensor's owner within its layer; the kernels of an attention are numbered."""
        gather = re.fullmatch(r"attention\.gather\.(\d+)\.([01])", owner)
        return self.inside[f"attention.gather.{gather[2]}"].format(gather[1]) if gather else self.inside[owner]


def _stage_number(rows: tuple[BlockSpec, ...], index: int, half: str) -> int:
    """The stage of a row; the one at full resolution is 0, and is empty where the image is resampled at once."""
    stages = [i for i, row in enumerate(rows) if row.block in _STAGES]
    empty = rows[0 if half == "encoder" else -1].block in ("downsample", "upsample")
    order = stages.index(index)
    return empty + (order if half == "encoder" else len(stages) - 1 - order)


DC_AE = DeepDialect(
    name="dc_ae",
    layer={half: f"{half}.stages.{{stage}}.op_list.{{r}}" for half in HALVES},
    resample=("main.conv", "main.conv.conv"),
    ends={
        "encoder first": "encoder.project_in.conv",
        "downsample resample": "encoder.project_in.conv.conv",
        "encoder last": "encoder.project_out.main.op_list.0.conv",
        "decoder first": "decoder.project_in.main.conv",
        "head norm": "decoder.project_out.op_list.0",
        "norm_act norm": "decoder.project_out.op_list.0",
        "head conv": "decoder.project_out.op_list.2.conv",
        "upsample resample": "decoder.project_out.op_list.2.conv.conv",
    },
    inside={
        "conv1": "main.conv1.conv",
        "conv2": "main.conv2.conv",
        "norm": "main.conv2.norm",
        "attention.qkv": "context_module.main.qkv.conv",
        "attention.gather.0": "context_module.main.aggreg.{}.0",
        "attention.gather.1": "context_module.main.aggreg.{}.1",
        "attention.proj": "context_module.main.proj.conv",
        "attention.norm": "context_module.main.proj.norm",
        "convs.conv1": "local_module.main.inverted_conv.conv",
        "convs.conv2": "local_module.main.depth_conv.conv",
        "convs.conv3": "local_module.main.point_conv.conv",
        "convs.norm": "local_module.main.point_conv.norm",
    },
    linear=False,
    fits={"head_channels": (32,), "kernels": ((), (5,))},
)
DIFFUSERS_DC = DeepDialect(
    name="diffusers",
    layer={"encoder": "encoder.down_blocks.{stage}.{r}", "decoder": "decoder.up_blocks.{stage}.{r}"},
    resample=("conv", "conv"),
    ends={
        "encoder first": "encoder.conv_in",
        "downsample resample": "encoder.conv_in.conv",
        "encoder last": "encoder.conv_out",
        "decoder first": "decoder.conv_in",
        "head norm": "decoder.norm_out",
        "norm_act norm": "decoder.norm_out",
        "head conv": "decoder.conv_out",
        "upsample resample": "decoder.conv_out.conv",
    },
    inside={
        "conv1": "conv1",
        "conv2": "conv2",
        "norm": "norm",
        "attention.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
        "attention.fused": "attn.to_qkv",
        "attention.gather.0": "attn.to_qkv_multiscale.{}.proj_in",
        "attention.gather.1": "attn.to_qkv_multiscale.{}.proj_out",
        "attention.proj": "attn.to_out",
        "attention.norm": "attn.norm_out",
        "convs.conv1": "conv_out.conv_inverted",
        "convs.conv2": "conv_out.conv_depth",
        "convs.conv3": "conv_out.conv_point",
        "convs.norm": "conv_out.norm",
    },
    linear=True,
    tails=("conv_3x3_unshuffle", "conv_3x3_shuffle", "nearest_conv_3x3"),
    bare=True,
)
