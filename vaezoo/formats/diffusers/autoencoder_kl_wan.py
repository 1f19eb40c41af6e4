"""AutoencoderKLWan and AutoencoderKLQwenImage on single images, where their convolutions over time see one frame.

Source: huggingface/diffusers `models/autoencoders/autoencoder_kl_wan.py` and `autoencoder_kl_qwenimage.py`. Read only:
weights for several frames cannot be made from those for one.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from vaezoo.formats.diffusers.config_keys import Depth, Floats, Keys, Latent, Never, Off, other_image, uneven
from vaezoo.nn.layers import Width
from vaezoo.specs.marks import Between
from vaezoo.specs.stats import LatentStats, Positive

Multiples = tuple[Annotated[int, Between(1, 256)], ...]
Positives = tuple[Annotated[float, Positive], ...]

# fmt: off
MEAN = (-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
        0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921)
STD = (2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
       3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160)
# fmt: on


@dataclass(frozen=True, kw_only=True)
class AutoencoderKLQwenImage(Keys):
    """Keys of diffusers' AutoencoderKLQwenImage."""

    IGNORED: ClassVar = (*Keys.IGNORED, "temperal_downsample", "dropout")  # the first is diffusers' own spelling

    base_dim: Width = 96
    z_dim: Latent = 16
    dim_mult: Multiples = (1, 2, 4, 4)
    num_res_blocks: Depth = 2
    attn_scales: tuple[float, ...] = ()
    input_channels: int = 3
    latents_mean: Floats = MEAN
    latents_std: Positives = STD

    def problem(self) -> str | None:
        return _attention(self.attn_scales) or uneven(self, "dim_mult")

    def network(self) -> dict[str, Any]:
        return _network(self, self.base_dim, self.input_channels)

    def stats(self) -> LatentStats:
        return LatentStats(mean=self.latents_mean, std=self.latents_std)


@dataclass(frozen=True, kw_only=True)
class AutoencoderKLWan(Keys):
    """Keys of diffusers' AutoencoderKLWan as in Wan 2.1; Wan 2.2 (`is_residual`, `patch_size`) is refused."""

    IGNORED: ClassVar = (
        *AutoencoderKLQwenImage.IGNORED,
        "scale_factor_temporal",
        "scale_factor_spatial",
        "clip_output",
    )

    base_dim: Width = 96
    decoder_base_dim: Width | None = None
    z_dim: Latent = 16
    dim_mult: Multiples = (1, 2, 4, 4)
    num_res_blocks: Depth = 2
    attn_scales: tuple[float, ...] = ()
    latents_mean: Floats = MEAN
    latents_std: Positives = STD
    is_residual: Never = False
    in_channels: int = 3
    out_channels: int = 3
    patch_size: Off = None

    def problem(self) -> str | None:
        image = other_image(self.in_channels, self.out_channels)
        return image or _attention(self.attn_scales) or uneven(self, "dim_mult")

    def network(self) -> dict[str, Any]:
        return _network(self, self.decoder_base_dim or self.base_dim, self.in_channels)

    def stats(self) -> LatentStats:
        return LatentStats(mean=self.latents_mean, std=self.latents_std)


def _attention(scales: tuple[float, ...]) -> str | None:
    return "attn_scales: attention inside levels; only [] is read, which every published config has" if scales else None


def _network(keys: AutoencoderKLQwenImage | AutoencoderKLWan, decoder_dim: int, image: int) -> dict[str, Any]:
    """The rows: the encoder's first convolution has the base width, and the decoder's resamplers halve the width."""
    down = [keys.base_dim * multiple for multiple in keys.dim_mult]
    up = [decoder_dim * multiple for multiple in reversed(keys.dim_mult)]
    encoder: list[dict[str, Any]] = [{"block": "conv", "out": keys.base_dim, "kernel": 3}]
    for i, width in enumerate(down):
        resample = "conv_3x3_asymmetric" if i < len(down) - 1 else None
        encoder.append({"block": "down", "out": width, "layers": keys.num_res_blocks, "resample": resample})
    encoder.append({"block": "mid", "out": down[-1], "layers": 1, "heads": 1})
    encoder.append({"block": "head", "out": "moments", "kernel": 3})
    encoder.append({"block": "conv", "out": "moments", "kernel": 1})

    decoder: list[dict[str, Any]] = [{"block": "conv", "out": "latent", "kernel": 1}]
    decoder.append({"block": "conv", "out": up[0], "kernel": 3})
    decoder.append({"block": "mid", "out": up[0], "layers": 1, "heads": 1})
    for i, width in enumerate(up):
        resample = {"resample": "nearest_conv_3x3", "resample_out": up[i - 1] // 2} if i else {"resample": None}
        decoder.append({"block": "up", "out": width, "layers": keys.num_res_blocks + 1, **resample})
    decoder.append({"block": "head", "out": "image", "kernel": 3})
    return {
        "image": {"channels": image},
        "latent": {"kind": "gaussian", "channels": keys.z_dim},
        "shared": {"norm": "l2", "groups": None, "eps": 1e-12, "act": "silu", "skip": "auto"},
        "encoder": encoder,
        "decoder": decoder,
    }
