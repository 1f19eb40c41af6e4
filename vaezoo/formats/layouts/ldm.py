"""Layout `ldm`: CompVis/latent-diffusion@a506df5 `ldm/modules/diffusionmodules/model.py`, and all that copied it."""

from collections.abc import Container, Mapping
from typing import Any

from vaezoo.formats.layouts.engine import BATCH_COUNTERS, LDM_ATTENTION, Layout, read_only_if_asymmetric
from vaezoo.formats.layouts.name_table import NameTable

QUANT = {"encoder quant": "quant_conv", "decoder quant": "post_quant_conv"}
BLOCKS = {"encoder": r"conv (down )+mid head( conv)?", "decoder": r"(conv )?conv mid (up )+head"}
GROUP_NORM: dict[str, Container[Any]] = {
    **{"norm": ("group",), "groups": (32,), "eps": (1e-6,), "act": ("silu",), "skip": ("auto",), "heads": (0, 1)},
    **{"resample": (None, "conv_3x3_asymmetric", "nearest_conv_3x3"), "resample_out": (), "shortcut": (None,)},
}
ALLOWED: dict[str, Mapping[str, Container[Any]]] = {
    "all": GROUP_NORM,
    "stem": {"kernel": (3,)},
    "mid": {"layers": (1,)},
    "head": {"kernel": (3,)},
    "quant": {"kernel": (1,)},
}

LDM_NAMES = NameTable(
    layout="ldm",
    blocks={"encoder": r"(haar )?" + BLOCKS["encoder"], "decoder": BLOCKS["decoder"] + r"( inverse_haar)?"},  # Cosmos
    modules={
        "stem": "{half}.conv_in",
        "encoder level layers": "encoder.down.{level}.block.{r}",
        "encoder level attentions": "encoder.down.{level}.attn.{r}",
        "encoder level resample": "encoder.down.{level}.downsample.conv",
        "decoder level layers": "decoder.up.{level}.block.{r}",
        "decoder level attentions": "decoder.up.{level}.attn.{r}",
        "decoder level resample": "decoder.up.{from_level}.upsample.conv",
        "mid layers": "{half}.mid.block_{r_plus_1}",
        "mid attentions": "{half}.mid.attn_1",
        "head norm": "{half}.norm_out",
        "head conv": "{half}.conv_out",
        **QUANT,
    },
    inside={
        **{"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "skip": "nin_shortcut"},
        **{"norm": "norm", "qkv": ("q", "k", "v"), "proj": "proj_out"},
    },
    fused="qkv",
    allowed=ALLOWED,
)
LDM = Layout(
    about="Latent Diffusion, Stable Diffusion, FLUX.1, MAR, VA-VAE and Cosmos, also inside a whole checkpoint.",
    tensor_names=LDM_NAMES.tensor_names,
    ignored=(
        *(r"loss\..*", r"model_ema\..*", r"foundation_model\..*", r"linear_proj.*", BATCH_COUNTERS),
        *(r"decoder\.encoder\..*", r"decoder\.up_layers\..*"),  # of buxiangzhiren/Asymmetric_VQGAN, for masks
    ),
    renamed=LDM_ATTENTION,
    read_only=read_only_if_asymmetric,
)
