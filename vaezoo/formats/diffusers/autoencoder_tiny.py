"""AutoencoderTiny: convolutions without norms.

Its layers end in a ReLU and its decoder clamps the latents at 3, regardless of the config.

Source: huggingface/diffusers@58eb52c0 `src/diffusers/models/autoencoders/autoencoder_tiny.py` and `vae.py`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from vaezoo.formats.diffusers import autoencoder
from vaezoo.formats.diffusers.autoencoder import AutoencoderConfig, Depths, Latent, Rows, Scale, Widths, WritableConfig
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.stats import LatentStats


@dataclass(frozen=True, kw_only=True)
class AutoencoderTiny(WritableConfig):
    """Keys of diffusers' AutoencoderTiny: TAESD and its variants."""

    # magnitude and shift are for latents stored as bytes; block_out_channels is a copy of that of the decoder
    IGNORED: ClassVar = (*AutoencoderConfig.IGNORED, "latent_magnitude", "latent_shift", "block_out_channels")

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
                return f"{key}: several widths; must all be equal, because the resamplers of this class keep the width"
        return (
            self.channel_change()
            or self.uneven("encoder_block_out_channels", "num_encoder_blocks")
            or self.uneven("decoder_block_out_channels", "num_decoder_blocks", "num_encoder_blocks")
        )

    def network(self) -> dict[str, Any]:
        return {
            "image": {"channels": self.in_channels},
            "latent": {"kind": "deterministic", "channels": self.latent_channels},
            "shared": {"act": self.act_fn},
            "encoder": self._encoder(self.encoder_block_out_channels[0]),
            "decoder": self._decoder(self.decoder_block_out_channels[0]),
        }

    def _encoder(self, width: int) -> Rows:
        rows: Rows = [{"block": "rescale", "gain": 0.5, "offset": 0.5}, {"block": "conv", "out": width, "kernel": 3}]
        for i, layers in enumerate(self.num_encoder_blocks):
            resample = "conv_3x3_no_bias" if i < len(self.num_encoder_blocks) - 1 else None
            rows.append({"block": "tiny_down", "out": width, "layers": layers, "resample": resample})
        return [*rows, {"block": "conv", "out": "latent", "kernel": 3}]

    def _decoder(self, width: int) -> Rows:
        rows: Rows = [{"block": "clamp", "limit": 3.0}, {"block": "conv_act", "out": width, "kernel": 3, "stride": 1}]
        for i, layers in enumerate(self.num_decoder_blocks):
            resample = "nearest_conv_3x3_no_bias" if i else None
            rows.append({"block": "tiny_up", "out": width, "layers": layers, "resample": resample})
        rows.append({"block": "conv", "out": "image", "kernel": 3})
        return [*rows, {"block": "rescale", "gain": 2.0, "offset": -1.0}]

    def stats(self) -> LatentStats | None:
        return autoencoder.scaled(self.scaling_factor, self.shift_factor)

    @classmethod
    def keys_of(cls, spec: ModelSpec, stats: LatentStats | None) -> dict[str, Any]:
        down = autoencoder.arguments_of(spec.encoder, "tiny_down")
        up = autoencoder.arguments_of(spec.decoder, "tiny_up")
        return {
            **autoencoder.channels_of(spec),
            "encoder_block_out_channels": [row.get("out") for row in down],
            "decoder_block_out_channels": [row.get("out") for row in up],
            "num_encoder_blocks": [row.get("layers") for row in down],
            "num_decoder_blocks": [row.get("layers") for row in up],
            "scaling_factor": autoencoder.scaling_of(stats),
            "shift_factor": stats.shift if stats else None,
        }
