"""AutoencoderKLHunyuanImage: residual layers of constant width, and resamplers with shortcuts that change the width.

Source: huggingface/diffusers@58eb52c0 `src/diffusers/models/autoencoders/autoencoder_kl_hunyuanimage.py`.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from vaezoo.formats.diffusers import autoencoder
from vaezoo.formats.diffusers.autoencoder import Depth, Latent, Rows, Scale, Widths, WritableConfig
from vaezoo.specs.marks import Between
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.stats import LatentStats


@dataclass(frozen=True, kw_only=True)
class AutoencoderKLHunyuanImage(WritableConfig):
    """Keys of diffusers' AutoencoderKLHunyuanImage."""

    in_channels: int
    out_channels: int
    latent_channels: Latent
    block_out_channels: Widths
    layers_per_block: Depth
    spatial_compression_ratio: Annotated[int, Between(1, 65_536)]
    scaling_factor: Scale = None
    downsample_match_channel: bool = True
    upsample_match_channel: bool = True

    def problem(self) -> str | None:
        return (
            self.channel_change()
            or self.uneven("block_out_channels")
            or self._width_change(self.block_out_channels, "downsample_match_channel")
            or self._width_change(self.block_out_channels[::-1], "upsample_match_channel")
        )

    def _width_change(self, widths: Widths, match: str) -> str | None:
        """Return the problem of a width that changes where there is no resampler to change it."""
        for i in range(len(widths) - 1):
            if widths[i] != widths[i + 1] and not (self._resamples(i) and getattr(self, match)):
                return (
                    f"block_out_channels: {widths[i]} to {widths[i + 1]} without a resampler that changes the width "
                    f"({match}, spatial_compression_ratio); the residual layers of this class keep the width"
                )
        return None

    def _resamples(self, level: int) -> bool:
        return 2**level < self.spatial_compression_ratio and level < len(self.block_out_channels) - 1

    def network(self) -> dict[str, Any]:
        return {
            "image": {"channels": self.in_channels},
            "latent": {"kind": "gaussian", "channels": self.latent_channels},
            "shared": {"norm": "group", "groups": 32, "eps": 1e-6, "act": "silu", "skip": "auto"},
            "encoder": self._encoder(self.block_out_channels),
            "decoder": self._decoder(self.block_out_channels[::-1]),
        }

    def _encoder(self, widths: Widths) -> Rows:
        rows: Rows = [{"block": "conv", "out": widths[0], "kernel": 3}]
        for i, width in enumerate(widths):
            row = {"block": "down", "out": width, "layers": self.layers_per_block, "resample": None}
            if self._resamples(i):
                row |= {"resample": "conv_3x3_unshuffle_average_outer", "resample_out": widths[i + 1]}
            rows.append(row)
        rows.append({"block": "mid", "out": widths[-1], "layers": 1, "heads": 1})
        return [*rows, {"block": "head", "out": "moments", "kernel": 3, "shortcut": "average"}]

    def _decoder(self, widths: Widths) -> Rows:
        rows: Rows = [{"block": "conv", "out": widths[0], "kernel": 3, "shortcut": "duplicate"}]
        rows.append({"block": "mid", "out": widths[0], "layers": 1, "heads": 1})
        for i, width in enumerate(widths):
            row = {"block": "up", "out": width, "layers": self.layers_per_block + 1, "resample": None}
            if i and self._resamples(i - 1):
                row |= {"resample": "conv_3x3_shuffle_duplicate_outer", "resample_out": width}
            rows.append(row)
        return [*rows, {"block": "head", "out": "image", "kernel": 3}]

    def stats(self) -> LatentStats | None:
        return autoencoder.scaled(self.scaling_factor)

    @classmethod
    def keys_of(cls, spec: ModelSpec, stats: LatentStats | None) -> dict[str, Any]:
        down = autoencoder.arguments_of(spec.encoder, "down")
        return {
            **autoencoder.channels_of(spec),
            "block_out_channels": [row.get("out") for row in down],
            "layers_per_block": autoencoder.first(down, "layers"),
            "spatial_compression_ratio": 2 ** sum(bool(row.get("resample")) for row in down),
            "sample_size": 384,  # required by diffusers for tiling only; the value of the published config
            "scaling_factor": autoencoder.scaling_of(stats),
        }
