"""AutoencoderKL, AutoencoderKLFlux2 and AsymmetricAutoencoderKL: residual levels around a middle with attention.

Their norms have an eps of 1e-6, and the last activation is SiLU.

Source: huggingface/diffusers@58eb52c0 `src/diffusers/models/autoencoders/autoencoder_kl.py`, `autoencoder_kl_flux2.py`,
`autoencoder_asym_kl.py` and `vae.py`.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from vaezoo.formats.diffusers import autoencoder
from vaezoo.formats.diffusers.autoencoder import (
    Act,
    AutoencoderConfig,
    Depth,
    Deviations,
    Latent,
    Means,
    Rows,
    Scale,
    Widths,
    WritableConfig,
)
from vaezoo.nn.layers import Width
from vaezoo.specs.marks import Between
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.stats import LatentStats

DOWN = {"DownEncoderBlock2D": 0, "AttnDownEncoderBlock2D": 1}  # to the attention heads of a level
UP = {"UpDecoderBlock2D": 0, "AttnUpDecoderBlock2D": 1}

DownTypes = tuple[Annotated[str, DOWN], ...]
UpTypes = tuple[Annotated[str, UP], ...]


@dataclass(frozen=True, kw_only=True)
class _KLConfig(AutoencoderConfig):
    """The keys that all three classes have."""

    in_channels: int = 3
    out_channels: int = 3
    down_block_types: DownTypes = ("DownEncoderBlock2D",)
    up_block_types: UpTypes = ("UpDecoderBlock2D",)
    act_fn: Act = "silu"
    latent_channels: Latent = 4
    norm_num_groups: Width = 32

    def _network(self, encoder: Rows, decoder: Rows) -> dict[str, Any]:
        norm = {"norm": "group", "groups": self.norm_num_groups, "eps": 1e-6}
        return {
            "image": {"channels": self.in_channels},
            "latent": {"kind": "gaussian", "channels": self.latent_channels},
            "shared": {**norm, "act": autoencoder.ACTS[self.act_fn], "skip": "auto"},
            "encoder": encoder,
            "decoder": decoder,
        }

    def _encoder(self, widths: Widths, layers: int, heads: int = 1, quant: bool = True) -> Rows:
        rows: Rows = [{"block": "conv", "out": widths[0], "kernel": 3}]
        for i, (width, kind) in enumerate(zip(widths, self.down_block_types, strict=True)):
            resample = "conv_3x3_asymmetric" if i < len(widths) - 1 else None
            rows.append({"block": "down", "out": width, "layers": layers, "resample": resample, "heads": DOWN[kind]})
        rows.append({"block": "mid", "out": widths[-1], "layers": 1, "heads": heads})
        rows.append({"block": "head", "out": "moments", "kernel": 3, "act": "silu"})
        return [*rows, {"block": "conv", "out": "moments", "kernel": 1}] if quant else rows

    def _decoder(self, widths: Widths, layers: int, heads: int = 1, quant: bool = True) -> Rows:
        """Return the rows of the decoder; `widths` are in the order of diffusers, from the image to the latents."""
        rows: Rows = [{"block": "conv", "out": "latent", "kernel": 1}] if quant else []
        rows.append({"block": "conv", "out": widths[-1], "kernel": 3})
        rows.append({"block": "mid", "out": widths[-1], "layers": 1, "heads": heads})
        for i, (width, kind) in enumerate(zip(reversed(widths), self.up_block_types, strict=True)):
            resample = "nearest_conv_3x3" if i else None
            rows.append({"block": "up", "out": width, "layers": layers + 1, "resample": resample, "heads": UP[kind]})
        return [*rows, {"block": "head", "out": "image", "kernel": 3, "act": "silu"}]


@dataclass(frozen=True, kw_only=True)
class _SymmetricConfig(_KLConfig, WritableConfig):
    """The keys that AutoencoderKL and AutoencoderKLFlux2 have."""

    block_out_channels: Widths = (64,)
    layers_per_block: Depth = 1
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True

    def problem(self) -> str | None:
        return self.channel_change() or self.uneven("block_out_channels", "down_block_types", "up_block_types")

    def network(self) -> dict[str, Any]:
        return self._network_with(self.block_out_channels)

    def _network_with(self, up: Widths) -> dict[str, Any]:
        heads = int(self.mid_block_add_attention)
        return self._network(
            self._encoder(self.block_out_channels, self.layers_per_block, heads, self.use_quant_conv),
            self._decoder(up, self.layers_per_block, heads, self.use_post_quant_conv),
        )

    @classmethod
    def keys_of(cls, spec: ModelSpec, stats: LatentStats | None) -> dict[str, Any]:
        down, up = autoencoder.arguments_of(spec.encoder, "down"), autoencoder.arguments_of(spec.decoder, "up")
        return {
            **autoencoder.channels_of(spec),
            "down_block_types": [list(DOWN)[bool(row.get("heads"))] for row in down],
            "up_block_types": [list(UP)[bool(row.get("heads"))] for row in up],
            "block_out_channels": [row.get("out") for row in down],
            "layers_per_block": autoencoder.first(down, "layers"),
            "act_fn": autoencoder.first(down, "act"),
            "norm_num_groups": autoencoder.first(down, "groups"),
            "use_quant_conv": spec.encoder[-1].block == "conv",
            "use_post_quant_conv": [row.block for row in spec.decoder[:2]] == ["conv", "conv"],
            "mid_block_add_attention": bool(autoencoder.first(autoencoder.arguments_of(spec.encoder, "mid"), "heads")),
        }


@dataclass(frozen=True, kw_only=True)
class AutoencoderKL(_SymmetricConfig):
    """Keys of diffusers' AutoencoderKL: the autoencoders of Stable Diffusion, SDXL, SD3 and FLUX.1."""

    scaling_factor: Scale = 0.18215
    shift_factor: float | None = None
    latents_mean: Means | None = None
    latents_std: Deviations | None = None

    def stats(self) -> LatentStats | None:
        # StableDiffusionXLPipeline decodes z * std / scaling_factor + mean if both are given
        found = LatentStats(
            mean=self.latents_mean, std=self.latents_std, scale=self.scaling_factor, shift=self.shift_factor or None
        )
        return None if found == LatentStats() else found

    @classmethod
    def keys_of(cls, spec: ModelSpec, stats: LatentStats | None) -> dict[str, Any]:
        keys = {**super().keys_of(spec, stats), "scaling_factor": autoencoder.scaling_of(stats)}
        if stats is None:
            return keys
        std: list[float] | tuple[float, ...] | None = stats.std
        if stats.var is not None and stats.eps is not None:
            std = [math.sqrt(var + stats.eps) for var in stats.var]
        return {**keys, "shift_factor": stats.shift, "latents_mean": stats.mean, "latents_std": std or None}


@dataclass(frozen=True, kw_only=True)
class AutoencoderKLFlux2(_SymmetricConfig):
    """Keys of diffusers' AutoencoderKLFlux2: packed latents, with the statistics of a batch norm in the weights."""

    IGNORED: ClassVar = (*AutoencoderConfig.IGNORED, "batch_norm_momentum")

    down_block_types: DownTypes = ("DownEncoderBlock2D",) * 4
    up_block_types: UpTypes = ("UpDecoderBlock2D",) * 4
    block_out_channels: Widths = (128, 256, 512, 512)
    decoder_block_out_channels: Widths | None = None
    layers_per_block: Depth = 2
    latent_channels: Latent = 32
    batch_norm_eps: Annotated[float, Between(1e-12, 1.0)] = 1e-4
    patch_size: tuple[Literal[2], ...] = (2, 2)

    def problem(self) -> str | None:
        if len(self.patch_size) != 2:
            return f"patch_size: {len(self.patch_size):,} numbers; must be [2, 2]"
        decoder = ("decoder_block_out_channels",) if self.decoder_block_out_channels else ()
        return super().problem() or self.uneven("block_out_channels", *decoder)

    def network(self) -> dict[str, Any]:
        return self._network_with(self.decoder_block_out_channels or self.block_out_channels)

    def stats(self) -> LatentStats:
        return LatentStats(pack=self.patch_size[0], eps=self.batch_norm_eps)

    @classmethod
    def keys_of(cls, spec: ModelSpec, stats: LatentStats | None) -> dict[str, Any]:
        keys = super().keys_of(spec, stats)
        up = [row.get("out") for row in reversed(autoencoder.arguments_of(spec.decoder, "up"))]
        decoder = {"decoder_block_out_channels": up} if up != keys["block_out_channels"] else {}
        return {**keys, **decoder, "batch_norm_eps": stats.eps if stats else None}


@dataclass(frozen=True, kw_only=True)
class AsymmetricAutoencoderKL(_KLConfig):
    """Keys of diffusers' AsymmetricAutoencoderKL, whose condition encoder for masked images is left out; read only."""

    IGNORED: ClassVar = (*AutoencoderConfig.IGNORED, "block_out_channels")  # a copy of up_block_out_channels

    down_block_out_channels: Widths = (64,)
    layers_per_down_block: Depth = 1
    up_block_out_channels: Widths = (64,)
    layers_per_up_block: Depth = 1
    scaling_factor: Scale = 0.18215

    def problem(self) -> str | None:
        return (
            self.channel_change()
            or self.uneven("down_block_out_channels", "down_block_types")
            or self.uneven("up_block_out_channels", "up_block_types", "down_block_types")
        )

    def network(self) -> dict[str, Any]:
        return self._network(
            self._encoder(self.down_block_out_channels, self.layers_per_down_block),
            self._decoder(self.up_block_out_channels, self.layers_per_up_block),
        )

    def stats(self) -> LatentStats | None:
        return autoencoder.scaled(self.scaling_factor)
