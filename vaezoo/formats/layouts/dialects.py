"""The dialects of the LDM family.

Sources: CompVis/latent-diffusion `ldm/modules/diffusionmodules/model.py`; black-forest-labs/flux2
`src/flux2/autoencoder.py`; Tencent-Hunyuan/HunyuanImage-2.1 `hyimage/models/vae/hunyuanimage_vae.py`; Wan-Video/Wan2.1
`wan/modules/vae.py`; huggingface/diffusers@58eb52c0 `src/diffusers/models/autoencoders`.
"""

from dataclasses import replace

from vaezoo.formats.layouts.ldm import Dialect

_QUANT = {"encoder": "quant_conv", "decoder": "post_quant_conv"}
_GROUP = {"norm": ("group",), "groups": (32,), "eps": (1e-6,), "act": ("silu",), "skip": ("auto",), "heads": (0, 1)}
_PLAIN = {"resample": (None, "conv_3x3_asymmetric", "nearest_conv_3x3"), "resample_out": ()}
_OUTER = {"resample": (None, "conv_3x3_unshuffle_average_outer", "conv_3x3_shuffle_duplicate_outer")}
_L2 = {**_GROUP, "norm": ("l2",), "groups": (None,), "eps": (1e-12,), "resample": _PLAIN["resample"]}
_SAME = {name: name for name in ("norm1", "conv1", "norm2", "conv2")}

LDM = Dialect(
    name="ldm",
    layer={"encoder": "encoder.down.{level}.block.{r}", "decoder": "decoder.up.{level}.block.{r}"},
    attention={"encoder": "encoder.down.{level}.attn.{r}", "decoder": "decoder.up.{level}.attn.{r}"},
    resample={"encoder": "encoder.down.{level}.downsample.conv", "decoder": "decoder.up.{level}.upsample.conv"},
    mid_layer="{half}.mid.block_{r1}",
    mid_attention="{half}.mid.attn_1",
    inside={
        **_SAME,
        "skip": "nin_shortcut",
        "norm": "norm",
        "qkv": ("q", "k", "v"),
        "fused": "qkv",
        "proj": "proj_out",
    },
    ends={"stem": "{half}.conv_in", "norm_out": "{half}.norm_out", "conv_out": "{half}.conv_out"},
    quant=_QUANT,
    wavelets=True,  # Cosmos
    latents=("gaussian", "deterministic"),
    fits={**_GROUP, **_PLAIN},
)
BFL = replace(
    LDM,
    name="bfl",
    quant={"encoder": "encoder.quant_conv", "decoder": "decoder.post_quant_conv"},
    wavelets=False,
    latents=("gaussian",),
)
HUNYUAN = replace(
    LDM,
    name="hunyuan",
    layer={"encoder": "encoder.down.{order}.block.{r}", "decoder": "decoder.up.{order}.block.{r}"},
    resample={"encoder": "encoder.down.{order}.downsample.conv", "decoder": "decoder.up.{order}.upsample.conv"},
    shortcuts=True,
    wavelets=False,
    latents=("gaussian",),
    fits={**_GROUP, **_OUTER},
)
WAN = Dialect(
    name="wan",
    layer={"encoder": "encoder.downsamples.{flat}", "decoder": "decoder.upsamples.{flat}"},
    attention={},
    resample={"encoder": "encoder.downsamples.{flat}.resample.1", "decoder": "decoder.upsamples.{flat}.resample.1"},
    mid_layer="{half}.middle.{r2}",
    mid_attention="{half}.middle.1",
    inside={
        **{"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6"},
        **{"skip": "shortcut", "norm": "norm", "qkv": "to_qkv", "proj": "proj"},
    },
    ends={"stem": "{half}.conv1", "norm_out": "{half}.head.0", "conv_out": "{half}.head.2"},
    quant={"encoder": "conv1", "decoder": "conv2"},
    gain="gamma",
    deep=True,
    fits=_L2,
)
DIFFUSERS_KL = Dialect(
    name="diffusers",
    layer={"encoder": "encoder.down_blocks.{order}.resnets.{r}", "decoder": "decoder.up_blocks.{order}.resnets.{r}"},
    attention={
        "encoder": "encoder.down_blocks.{order}.attentions.{r}",
        "decoder": "decoder.up_blocks.{order}.attentions.{r}",
    },
    resample={
        "encoder": "encoder.down_blocks.{order}.downsamplers.0.conv",
        "decoder": "decoder.up_blocks.{order}.upsamplers.0.conv",
    },
    mid_layer="{half}.mid_block.resnets.{r}",
    mid_attention="{half}.mid_block.attentions.0",
    inside={
        **{**_SAME, "skip": "conv_shortcut"},
        **{"norm": "group_norm", "qkv": ("to_q", "to_k", "to_v"), "fused": "to_qkv", "proj": "to_out.0"},
    },
    ends={"stem": "{half}.conv_in", "norm_out": "{half}.conv_norm_out", "conv_out": "{half}.conv_out"},
    quant=_QUANT,
    linear=True,
    fits={**{key: allowed for key, allowed in _GROUP.items() if key != "groups"}, **_PLAIN, "act": ("silu", "relu")},
)
DIFFUSERS_HUNYUAN = replace(
    DIFFUSERS_KL,
    layer={"encoder": "encoder.down_blocks.{flat}", "decoder": "decoder.up_blocks.{flat}"},
    attention={},
    resample={"encoder": "encoder.down_blocks.{flat}.conv", "decoder": "decoder.up_blocks.{flat}.conv"},
    inside={**DIFFUSERS_KL.inside, "norm": "norm", "proj": "proj"},
    ends=LDM.ends,
    linear=False,
    shortcuts=True,
    fits=HUNYUAN.fits,
)
DIFFUSERS_QWEN = replace(
    WAN,
    name="diffusers",
    layer={"encoder": "encoder.down_blocks.{flat}", "decoder": "decoder.up_blocks.{order}.resnets.{r}"},
    resample={
        "encoder": "encoder.down_blocks.{flat}.resample.1",
        "decoder": "decoder.up_blocks.{order}.upsamplers.0.resample.1",
    },
    mid_layer="{half}.mid_block.resnets.{r}",
    mid_attention="{half}.mid_block.attentions.0",
    inside={**_SAME, "skip": "conv_shortcut", "norm": "norm", "qkv": "to_qkv", "proj": "proj"},
    ends=LDM.ends,
    quant=_QUANT,
)
