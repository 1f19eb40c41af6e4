"""Layout `dc_ae`: mit-han-lab/efficientvit@7571ad0 `efficientvit/models/efficientvit/dc_ae.py`, `models/nn/ops.py`."""

from collections.abc import Container, Mapping
from typing import Any

from vaezoo.formats.layouts.engine import BATCH_COUNTERS, Layout
from vaezoo.formats.layouts.name_table import NameTable

_STEM_RESAMPLERS = ("conv_3x3_unshuffle", "conv_3x3_shuffle")
ALLOWED: dict[str, Mapping[str, Container[Any]]] = {
    "all": {
        **{"eps": (1e-5,), "norm": ("rms", "batch"), "act": ("silu", "relu"), "expand": (4,), "kernel": (3,)},
        "shortcut": (None,),
    },
    "level": {
        "resample": (
            *(None, "conv_3x3_average", "conv_3x3_unshuffle_average"),
            *("nearest_conv_3x3_duplicate", "conv_3x3_shuffle_duplicate"),
        ),
    },
    "encoder quant": {"shortcut": ("average",)},
    "decoder stem": {"shortcut": ("duplicate",)},
    "downsample": {"resample": _STEM_RESAMPLERS},
    "upsample": {"resample": _STEM_RESAMPLERS},
}

DC_AE_NAMES = NameTable(
    layout="dc_ae",
    blocks={
        "encoder": r"(conv|downsample) ((dc|vit)_down )+conv",
        "decoder": r"conv ((dc|vit)_up )+(head|norm_act upsample)",
    },
    modules={
        "encoder stem": "encoder.project_in.conv",
        "downsample resample": "encoder.project_in.conv.conv",
        "level layers": "{half}.stages.{level}.op_list.{index}",
        "level resample": "{half}.stages.{level}.op_list.{index}.main.conv.conv",
        "level resample conv_3x3_average": "{half}.stages.{level}.op_list.{index}.main.conv",  # strided
        "encoder quant": "encoder.project_out.main.op_list.0.conv",
        "decoder stem": "decoder.project_in.main.conv",
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
        "attention.gather.0": "context_module.main.aggreg.{scale}.0",
        "attention.gather.1": "context_module.main.aggreg.{scale}.1",
        "attention.proj": "context_module.main.proj.conv",
        "attention.norm": "context_module.main.proj.norm",
        "convs.conv1": "local_module.main.inverted_conv.conv",
        "convs.conv2": "local_module.main.depth_conv.conv",
        "convs.conv3": "local_module.main.point_conv.conv",
        "convs.norm": "local_module.main.point_conv.norm",
    },
    allowed={**ALLOWED, "all": {**ALLOWED["all"], "head_channels": (32,), "kernels": ((), (5,))}},
)
DC_AE = Layout(
    about="DC-AE and SANA by efficientvit.", tensor_names=DC_AE_NAMES.tensor_names, ignored=(BATCH_COUNTERS,)
)
