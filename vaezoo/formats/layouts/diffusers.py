"""Layout `diffusers`: huggingface/diffusers@58eb52c0 `src/diffusers/models/autoencoders`, a table for each class."""

from dataclasses import replace

from vaezoo.formats.layouts import dcae
from vaezoo.formats.layouts.dcae import DC_AE_NAMES
from vaezoo.formats.layouts.engine import (
    BATCH_COUNTERS,
    Layout,
    TensorNames,
    first_of,
    read_only_if_asymmetric,
    read_only_if_causal,
)
from vaezoo.formats.layouts.hunyuan import SHORTCUTS
from vaezoo.formats.layouts.ldm import ALLOWED, BLOCKS, GROUP_NORM, LDM_NAMES, QUANT
from vaezoo.formats.layouts.name_table import NameTable
from vaezoo.formats.layouts.taesd import TAESD_NAMES
from vaezoo.formats.layouts.wan import OVER_TIME, WAN_NAMES
from vaezoo.specs.model import ModelSpec

_LAYER = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "skip": "conv_shortcut"}
_MIDDLE = {"mid layers": "{half}.mid_block.resnets.{r}", "mid attentions": "{half}.mid_block.attentions.0"}
_STEM_AND_HEAD = {key: LDM_NAMES.modules[key] for key in ("stem", "head norm", "head conv")}

AUTOENCODER_KL = NameTable(  # and AutoencoderKLFlux2, AsymmetricAutoencoderKL
    layout="diffusers",
    blocks=BLOCKS,
    modules={
        "stem": "{half}.conv_in",
        "encoder level layers": "encoder.down_blocks.{order}.resnets.{r}",
        "encoder level attentions": "encoder.down_blocks.{order}.attentions.{r}",
        "encoder level resample": "encoder.down_blocks.{order}.downsamplers.0.conv",
        "decoder level layers": "decoder.up_blocks.{order}.resnets.{r}",
        "decoder level attentions": "decoder.up_blocks.{order}.attentions.{r}",
        "decoder level resample": "decoder.up_blocks.{from_order}.upsamplers.0.conv",
        **_MIDDLE,
        "head norm": "{half}.conv_norm_out",
        "head conv": "{half}.conv_out",
        **QUANT,
    },
    inside={**_LAYER, "norm": "group_norm", "qkv": ("to_q", "to_k", "to_v"), "proj": "to_out.0"},
    fused="to_qkv",
    allowed={
        **ALLOWED,
        "all": {**{key: values for key, values in GROUP_NORM.items() if key != "groups"}, "act": ("silu", "relu")},
    },
    latents=("gaussian",),
    linear=True,
)
AUTOENCODER_KL_HUNYUAN_IMAGE = replace(
    AUTOENCODER_KL,
    modules={
        **_STEM_AND_HEAD,
        "encoder level layers": "encoder.down_blocks.{flat}",
        "encoder level resample": "encoder.down_blocks.{flat}.conv",
        "decoder level layers": "decoder.up_blocks.{flat}",
        "decoder level resample": "decoder.up_blocks.{flat}.conv",
        **_MIDDLE,
        **QUANT,
    },
    inside={**AUTOENCODER_KL.inside, "norm": "norm", "proj": "proj"},
    allowed={**SHORTCUTS, "level": {"heads": (0,)}},
    linear=False,
)
AUTOENCODER_KL_WAN = replace(  # and AutoencoderKLQwenImage
    WAN_NAMES,
    layout="diffusers",
    modules={
        **_STEM_AND_HEAD,
        "encoder level layers": "encoder.down_blocks.{flat}",
        "encoder level resample": "encoder.down_blocks.{flat}.resample.1",
        "decoder level layers": "decoder.up_blocks.{order}.resnets.{r}",
        "decoder level resample": "decoder.up_blocks.{from_order}.upsamplers.0.resample.1",
        **_MIDDLE,
        **QUANT,
    },
    inside={**_LAYER, "norm": "norm", "qkv": "to_qkv", "proj": "proj"},
)
AUTOENCODER_TINY = replace(
    TAESD_NAMES,
    layout="diffusers",
    blocks={**TAESD_NAMES.blocks, "encoder": r"rescale conv (tiny_down )+conv"},
    modules=dict.fromkeys(TAESD_NAMES.modules, "{half}.layers.{flat}"),
    allowed={**TAESD_NAMES.allowed, "all": {**TAESD_NAMES.allowed["all"], "pool_groups": (), "resample_out": ()}},
    counted={"conv": 1, "conv_act": 2},  # the clamp is no module
)
_STEM_RESAMPLERS = ("conv_3x3_unshuffle", "conv_3x3_shuffle", "nearest_conv_3x3")
AUTOENCODER_DC = replace(
    DC_AE_NAMES,
    layout="diffusers",
    modules={
        "encoder stem": "encoder.conv_in",
        "downsample resample": "encoder.conv_in.conv",
        "encoder level layers": "encoder.down_blocks.{level}.{index}",
        "encoder level resample": "encoder.down_blocks.{level}.{index}.conv",
        "encoder quant": "encoder.conv_out",
        "decoder stem": "decoder.conv_in",
        "decoder level layers": "decoder.up_blocks.{level}.{index}",
        "decoder level resample": "decoder.up_blocks.{level}.{index}.conv",
        "head norm": "decoder.norm_out",
        "norm_act norm": "decoder.norm_out",
        "head conv": "decoder.conv_out",
        "upsample resample": "decoder.conv_out.conv",
    },
    inside={
        **{"conv1": "conv1", "conv2": "conv2", "norm": "norm"},
        **{"attention.qkv": ("attn.to_q", "attn.to_k", "attn.to_v")},
        "attention.gather.0": "attn.to_qkv_multiscale.{scale}.proj_in",
        "attention.gather.1": "attn.to_qkv_multiscale.{scale}.proj_out",
        **{"attention.proj": "attn.to_out", "attention.norm": "attn.norm_out"},
        **{"convs.conv1": "conv_out.conv_inverted", "convs.conv2": "conv_out.conv_depth"},
        **{"convs.conv3": "conv_out.conv_point", "convs.norm": "conv_out.norm"},
    },
    fused="attn.to_qkv",
    allowed={
        **dcae.ALLOWED,
        "encoder quant": {"shortcut": (None, "average")},
        "decoder stem": {"shortcut": (None, "duplicate")},
        "downsample": {"resample": _STEM_RESAMPLERS},
        "upsample": {"resample": _STEM_RESAMPLERS},
    },
    linear=True,
)


def _read_only(spec: ModelSpec, names: list[TensorNames]) -> str | None:
    """Return why a class that leaves something out cannot be written; `None` for the other classes."""
    return read_only_if_causal(spec, names) or read_only_if_asymmetric(spec, names)


DIFFUSERS = Layout(
    about="diffusers: AutoencoderKL, asymmetric, Tiny, DC, FLUX.2, HunyuanImage, Qwen-Image and Wan.",
    tensor_names=first_of(
        "diffusers",
        AUTOENCODER_KL.tensor_names,
        AUTOENCODER_TINY.tensor_names,
        AUTOENCODER_DC.tensor_names,
        AUTOENCODER_KL_HUNYUAN_IMAGE.tensor_names,
        AUTOENCODER_KL_WAN.tensor_names,
    ),
    ignored=(r"decoder\.condition_encoder\..*", OVER_TIME, BATCH_COUNTERS),
    renamed=tuple(
        (rf"(.*\.attentions\.\d+)\.{old}\.(weight|bias)", rf"\1.{new}.\2")
        for old, new in (
            *(("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")),
            *(("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0"), ("qkv", "to_qkv")),
        )
    ),
    statistics="bn",
    read_only=_read_only,
)
