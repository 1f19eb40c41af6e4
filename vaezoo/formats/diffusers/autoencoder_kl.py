"""AutoencoderKL and its kin: levels of residual layers around a middle with attention.

Source: huggingface/diffusers `models/autoencoders/autoencoder_kl.py`, `autoencoder_kl_flux2.py`,
`autoencoder_asym_kl.py` and `vae.py`, whose norms have an eps of 1e-6 and whose last activations are SiLU.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from vaezoo.formats.diffusers.config_keys import (
    ACTS,
    Act,
    Depth,
    Floats,
    Keys,
    Latent,
    Scale,
    Widths,
    channels_of,
    first,
    other_image,
    rows_of,
    scaling_of,
    uneven,
)
from vaezoo.nn.layers import Width
from vaezoo.specs.marks import Between
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.stats import LatentStats, Positive

DOWN = {"DownEncoderBlock2D": 0, "AttnDownEncoderBlock2D": 1}  # to the heads of a level's attention
UP = {"UpDecoderBlock2D": 0, "AttnUpDecoderBlock2D": 1}

DownTypes = tuple[Annotated[str, DOWN], ...]
UpTypes = tuple[Annotated[str, UP], ...]


@dataclass(frozen=True, kw_only=True)
class AutoencoderKL(Keys):
    """Keys of diffusers' AutoencoderKL: the autoencoders of Stable Diffusion, SDXL, SD3 and FLUX.1."""

    in_channels: int = 3
    out_channels: int = 3
    down_block_types: DownTypes = ("DownEncoderBlock2D",)
    up_block_types: UpTypes = ("UpDecoderBlock2D",)
    block_out_channels: Widths = (64,)
    layers_per_block: Depth = 1
    act_fn: Act = "silu"
    latent_channels: Latent = 4
    norm_num_groups: Width = 32
    scaling_factor: Scale = 0.18215
    shift_factor: float | None = None
    latents_mean: Floats | None = None
    latents_std: tuple[Annotated[float, Positive], ...] | None = None
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True

    def problem(self) -> str | None:
        return other_image(self.in_channels, self.out_channels) or uneven(
            self, "block_out_channels", "down_block_types", "up_block_types"
        )

    def network(self) -> dict[str, Any]:
        return _network(self, self.block_out_channels, self.block_out_channels, (self.layers_per_block,) * 2)

    def stats(self) -> LatentStats | None:
        # as StableDiffusionXLPipeline decodes: z * std / scaling_factor + mean, where both are given
        found = LatentStats(
            mean=self.latents_mean, std=self.latents_std, scale=self.scaling_factor, shift=self.shift_factor or None
        )
        return None if found == LatentStats() else found


@dataclass(frozen=True, kw_only=True)
class AutoencoderKLFlux2(Keys):
    """Keys of diffusers' AutoencoderKLFlux2: packed latents with a batch norm's statistics in the weights."""

    IGNORED: ClassVar = (*Keys.IGNORED, "batch_norm_momentum")

    in_channels: int = 3
    out_channels: int = 3
    down_block_types: DownTypes = ("DownEncoderBlock2D",) * 4
    up_block_types: UpTypes = ("UpDecoderBlock2D",) * 4
    block_out_channels: Widths = (128, 256, 512, 512)
    decoder_block_out_channels: Widths | None = None
    layers_per_block: Depth = 2
    act_fn: Act = "silu"
    latent_channels: Latent = 32
    norm_num_groups: Width = 32
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True
    batch_norm_eps: Annotated[float, Between(1e-12, 1.0)] = 1e-4
    patch_size: tuple[Literal[2], ...] = (2, 2)

    def problem(self) -> str | None:
        if len(self.patch_size) != 2:
            return f"patch_size: {len(self.patch_size):,} numbers; [2, 2] is read"
        decoder = ("decoder_block_out_channels",) if self.decoder_block_out_channels else ()
        return other_image(self.in_channels, self.out_channels) or uneven(
            self, "block_out_channels", "down_block_types", "up_block_types", *decoder
        )

    def network(self) -> dict[str, Any]:
        up = self.decoder_block_out_channels or self.block_out_channels
        return _network(self, self.block_out_channels, up, (self.layers_per_block,) * 2)

    def stats(self) -> LatentStats:
        return LatentStats(pack=self.patch_size[0], eps=self.batch_norm_eps)


@dataclass(frozen=True, kw_only=True)
class AsymmetricAutoencoderKL(Keys):
    """Keys of diffusers' AsymmetricAutoencoderKL, whose encoder of masked images is left out."""

    IGNORED: ClassVar = (*Keys.IGNORED, "block_out_channels")  # a copy of up_block_out_channels
    use_quant_conv: ClassVar = True
    use_post_quant_conv: ClassVar = True
    mid_block_add_attention: ClassVar = True

    in_channels: int = 3
    out_channels: int = 3
    down_block_types: DownTypes = ("DownEncoderBlock2D",)
    down_block_out_channels: Widths = (64,)
    layers_per_down_block: Depth = 1
    up_block_types: UpTypes = ("UpDecoderBlock2D",)
    up_block_out_channels: Widths = (64,)
    layers_per_up_block: Depth = 1
    act_fn: Act = "silu"
    latent_channels: Latent = 4
    norm_num_groups: Width = 32
    scaling_factor: Scale = 0.18215

    def problem(self) -> str | None:
        return (
            other_image(self.in_channels, self.out_channels)
            or uneven(self, "down_block_out_channels", "down_block_types")
            or uneven(self, "up_block_out_channels", "up_block_types", "down_block_types")
        )

    def network(self) -> dict[str, Any]:
        depths = self.layers_per_down_block, self.layers_per_up_block
        return _network(self, self.down_block_out_channels, self.up_block_out_channels, depths)

    def stats(self) -> LatentStats | None:
        return None if self.scaling_factor is None else LatentStats(scale=self.scaling_factor)


def _network(
    keys: AutoencoderKL | AutoencoderKLFlux2 | AsymmetricAutoencoderKL,
    down: Widths,
    up: Widths,
    depths: tuple[int, int],
) -> dict[str, Any]:
    """The rows for widths and depths of both halves; `up`, as diffusers has it, from the image to the latent."""
    heads = int(keys.mid_block_add_attention)
    encoder: list[dict[str, Any]] = [{"block": "conv", "out": down[0], "kernel": 3}]
    for i, (width, kind) in enumerate(zip(down, keys.down_block_types, strict=True)):
        resample = "conv_3x3_asymmetric" if i < len(down) - 1 else None
        level = {"out": width, "layers": depths[0], "resample": resample, "heads": DOWN[kind]}
        encoder.append({"block": "down", **level})
    encoder.append({"block": "mid", "out": down[-1], "layers": 1, "heads": heads})
    encoder.append({"block": "head", "out": "moments", "kernel": 3, "act": "silu"})
    if keys.use_quant_conv:
        encoder.append({"block": "conv", "out": "moments", "kernel": 1})

    decoder: list[dict[str, Any]] = []
    if keys.use_post_quant_conv:
        decoder.append({"block": "conv", "out": "latent", "kernel": 1})
    decoder.append({"block": "conv", "out": up[-1], "kernel": 3})
    decoder.append({"block": "mid", "out": up[-1], "layers": 1, "heads": heads})
    for i, (width, kind) in enumerate(zip(reversed(up), keys.up_block_types, strict=True)):
        resample = "nearest_conv_3x3" if i else None
        level = {"out": width, "layers": depths[1] + 1, "resample": resample, "heads": UP[kind]}
        decoder.append({"block": "up", **level})
    decoder.append({"block": "head", "out": "image", "kernel": 3, "act": "silu"})
    return {
        "image": {"channels": keys.in_channels},
        "latent": {"kind": "gaussian", "channels": keys.latent_channels},
        "shared": {
            "norm": "group",
            "groups": keys.norm_num_groups,
            "eps": 1e-6,
            "act": ACTS[keys.act_fn],
            "skip": "auto",
        },
        "encoder": encoder,
        "decoder": decoder,
    }


def kl_keys(spec: ModelSpec, stats: LatentStats | None) -> dict[str, Any]:
    """The keys of AutoencoderKL as rows and statistics seem to say them; nothing is checked."""
    keys = {**_ldm_keys(spec), "scaling_factor": scaling_of(stats)}
    if stats:
        keys |= {"shift_factor": stats.shift, "latents_mean": stats.mean, "latents_std": _std(stats)}
    return keys


def _std(stats: LatentStats) -> list[float] | None:
    if stats.var is not None and stats.eps is not None:
        return [math.sqrt(var + stats.eps) for var in stats.var]
    return list(stats.std) if stats.std else None


def flux2_keys(spec: ModelSpec, stats: LatentStats | None) -> dict[str, Any]:
    """The keys of AutoencoderKLFlux2 as rows and statistics seem to say them; nothing is checked."""
    up = [row.get("out") for row in reversed(rows_of(spec.decoder, "up"))]
    keys = _ldm_keys(spec)
    decoder = {"decoder_block_out_channels": up} if up != keys["block_out_channels"] else {}
    return {**keys, **decoder, "batch_norm_eps": stats.eps if stats else None}


def _ldm_keys(spec: ModelSpec) -> dict[str, Any]:
    down, up, mid = rows_of(spec.encoder, "down"), rows_of(spec.decoder, "up"), rows_of(spec.encoder, "mid")
    return {
        **channels_of(spec),
        "down_block_types": [list(DOWN)[bool(row.get("heads"))] for row in down],
        "up_block_types": [list(UP)[bool(row.get("heads"))] for row in up],
        "block_out_channels": [row.get("out") for row in down],
        "layers_per_block": first(down, "layers"),
        "act_fn": first(down, "act"),
        "norm_num_groups": first(down, "groups"),
        "use_quant_conv": spec.encoder[-1].block == "conv",
        "use_post_quant_conv": [row.block for row in spec.decoder[:2]] == ["conv", "conv"],
        "mid_block_add_attention": bool(first(mid, "heads")),
    }
