"""AutoencoderTiny: convolutions without norms.

Source: huggingface/diffusers `models/autoencoders/autoencoder_tiny.py` and `vae.py`, whose layers end in ReLU and whose
decoder clamps at 3, whatever the config says of either.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from vaezoo.formats.diffusers.config_keys import (
    Depths,
    Keys,
    Latent,
    Scale,
    Widths,
    channels_of,
    other_image,
    rows_of,
    scaling_of,
    uneven,
)
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.stats import LatentStats


@dataclass(frozen=True, kw_only=True)
class AutoencoderTiny(Keys):
    """Keys of diffusers' AutoencoderTiny: TAESD and its kin."""

    # the magnitude and shift are for latents stored as bytes; block_out_channels is a copy of the decoder's
    IGNORED: ClassVar = (*Keys.IGNORED, "latent_magnitude", "latent_shift", "block_out_channels")

    in_channels: int = 3
    out_channels: int = 3
    encoder_block_out_channels: Widths = (64, 64, 64, 64)
    decoder_block_out_channels: Widths = (64, 64, 64, 64)
    act_fn: Literal["relu"] = "relu"
    upsample_fn: Literal["nearest"] = "nearest"
    latent_channels: Latent = 4
    upsampling_scaling_factor: Literal[2] = 2
    num_encoder_blocks: Depths = (1, 3, 3, 3)
    num_decoder_blocks: Depths = (3, 3, 3, 1)
    scaling_factor: Scale = 1.0
    shift_factor: float | None = 0.0

    def problem(self) -> str | None:
        for key in ("encoder_block_out_channels", "decoder_block_out_channels"):
            if len(set(getattr(self, key))) > 1:
                return f"{key}: several widths; the resamplers of this class keep the width"
        return (
            other_image(self.in_channels, self.out_channels)
            or uneven(self, "encoder_block_out_channels", "num_encoder_blocks")
            or uneven(self, "decoder_block_out_channels", "num_decoder_blocks", "num_encoder_blocks")
        )

    def network(self) -> dict[str, Any]:
        down, up = self.encoder_block_out_channels[0], self.decoder_block_out_channels[0]
        encoder: list[dict[str, Any]] = [{"block": "rescale", "gain": 0.5, "offset": 0.5}]
        encoder.append({"block": "conv", "out": down, "kernel": 3})
        for i, layers in enumerate(self.num_encoder_blocks):
            resample = "conv_3x3_no_bias" if i < len(self.num_encoder_blocks) - 1 else None
            encoder.append({"block": "tiny_down", "out": down, "layers": layers, "resample": resample})
        encoder.append({"block": "conv", "out": "latent", "kernel": 3})

        decoder: list[dict[str, Any]] = [{"block": "clamp", "limit": 3.0}]
        decoder.append({"block": "conv_act", "out": up, "kernel": 3, "stride": 1})
        for i, layers in enumerate(self.num_decoder_blocks):
            resample = "nearest_conv_3x3_no_bias" if i else None
            decoder.append({"block": "tiny_up", "out": up, "layers": layers, "resample": resample})
        decoder.append({"block": "conv", "out": "image", "kernel": 3})
        decoder.append({"block": "rescale", "gain": 2.0, "offset": -1.0})
        return {
            "image": {"channels": self.in_channels},
            "latent": {"kind": "deterministic", "channels": self.latent_channels},
            "shared": {"act": self.act_fn},
            "encoder": encoder,
            "decoder": decoder,
        }

    def stats(self) -> LatentStats | None:
        return self.scaling_factor and LatentStats(scale=self.scaling_factor, shift=self.shift_factor or None)


def tiny_keys(spec: ModelSpec, stats: LatentStats | None) -> dict[str, Any]:
    """The keys of AutoencoderTiny as rows and statistics seem to say them; nothing is checked."""
    down, up = rows_of(spec.encoder, "tiny_down"), rows_of(spec.decoder, "tiny_up")
    return {
        **channels_of(spec),
        "encoder_block_out_channels": [row.get("out") for row in down],
        "decoder_block_out_channels": [row.get("out") for row in up],
        "num_encoder_blocks": [row.get("layers") for row in down],
        "num_decoder_blocks": [row.get("layers") for row in up],
        "scaling_factor": scaling_of(stats),
        "shift_factor": stats.shift if stats else None,
    }
