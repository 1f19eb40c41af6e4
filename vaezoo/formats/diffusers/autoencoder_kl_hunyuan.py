"""AutoencoderKLHunyuanImage: residual layers, and resamplers with shortcuts that change the width.

Source: huggingface/diffusers `models/autoencoders/autoencoder_kl_hunyuanimage.py`.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from vaezoo.formats.diffusers.config_keys import (
    Depth,
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
from vaezoo.specs.marks import Between
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.stats import LatentStats


@dataclass(frozen=True, kw_only=True)
class AutoencoderKLHunyuanImage(Keys):
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
            other_image(self.in_channels, self.out_channels)
            or uneven(self, "block_out_channels")
            or self._changes(self.block_out_channels, "downsample_match_channel")
            or self._changes(self.block_out_channels[::-1], "upsample_match_channel")
        )

    def _changes(self, widths: Widths, match: str) -> str | None:
        """The problem of a width that a residual layer would have to change, which those of this class cannot."""
        for i in range(len(widths) - 1):
            if widths[i] != widths[i + 1] and not (self._resamples(i) and getattr(self, match)):
                return (
                    f"block_out_channels: {widths[i]} to {widths[i + 1]} without a resampler that changes the width "
                    f"({match}, spatial_compression_ratio); the residual layers of this class keep it"
                )
        return None

    def _resamples(self, level: int) -> bool:
        return 2**level < self.spatial_compression_ratio and level < len(self.block_out_channels) - 1

    def network(self) -> dict[str, Any]:
        down, up = self.block_out_channels, self.block_out_channels[::-1]
        encoder: list[dict[str, Any]] = [{"block": "conv", "out": down[0], "kernel": 3}]
        for i, width in enumerate(down):
            row = {"block": "down", "out": width, "layers": self.layers_per_block, "resample": None}
            if self._resamples(i):
                row |= {"resample": "conv_3x3_unshuffle_average_outer", "resample_out": down[i + 1]}
            encoder.append(row)
        encoder.append({"block": "mid", "out": down[-1], "layers": 1, "heads": 1})
        encoder.append({"block": "head", "out": "moments", "kernel": 3, "shortcut": "average"})

        decoder: list[dict[str, Any]] = [{"block": "conv", "out": up[0], "kernel": 3, "shortcut": "duplicate"}]
        decoder.append({"block": "mid", "out": up[0], "layers": 1, "heads": 1})
        for i, width in enumerate(up):
            row = {"block": "up", "out": width, "layers": self.layers_per_block + 1, "resample": None}
            if i and self._resamples(i - 1):
                row |= {"resample": "conv_3x3_shuffle_duplicate_outer", "resample_out": width}
            decoder.append(row)
        decoder.append({"block": "head", "out": "image", "kernel": 3})
        return {
            "image": {"channels": self.in_channels},
            "latent": {"kind": "gaussian", "channels": self.latent_channels},
            "shared": {"norm": "group", "groups": 32, "eps": 1e-6, "act": "silu", "skip": "auto"},
            "encoder": encoder,
            "decoder": decoder,
        }

    def stats(self) -> LatentStats | None:
        return self.scaling_factor and LatentStats(scale=self.scaling_factor)


def hunyuan_keys(spec: ModelSpec, stats: LatentStats | None) -> dict[str, Any]:
    """The keys of AutoencoderKLHunyuanImage as rows and statistics seem to say them; nothing is checked."""
    down = rows_of(spec.encoder, "down")
    return {
        **channels_of(spec),
        "block_out_channels": [row.get("out") for row in down],
        "layers_per_block": first(down, "layers"),
        "spatial_compression_ratio": 2 ** sum(bool(row.get("resample")) for row in down),
        "sample_size": 384,  # asked for by diffusers, for its tiles alone; the published config's
        "scaling_factor": scaling_of(stats),
    }
