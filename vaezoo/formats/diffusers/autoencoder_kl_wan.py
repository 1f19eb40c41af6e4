"""AutoencoderKLWan and AutoencoderKLQwenImage for single images, where causal 3-D convolutions see a single frame.

These classes are read only: weights for several frames cannot be restored from those for one.

Source: huggingface/diffusers@58eb52c0 `src/diffusers/models/autoencoders/autoencoder_kl_wan.py` and
`autoencoder_kl_qwenimage.py`.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from vaezoo.formats.diffusers.autoencoder import AutoencoderConfig, Depth, Deviations, Latent, Means, Rows
from vaezoo.nn.layers import Width
from vaezoo.specs.marks import Between
from vaezoo.specs.stats import LatentStats

# fmt: off
MEAN = (-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
        0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921)
STD = (2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
       3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160)
# fmt: on


@dataclass(frozen=True, kw_only=True)
class _VideoConfig(AutoencoderConfig):
    """The keys that both classes have."""

    IGNORED: ClassVar = (*AutoencoderConfig.IGNORED, "temperal_downsample", "dropout")  # spelled as in diffusers

    base_dim: Width = 96
    z_dim: Latent = 16
    dim_mult: tuple[Annotated[int, Between(1, 256)], ...] = (1, 2, 4, 4)
    num_res_blocks: Depth = 2
    attn_scales: tuple[float, ...] = ()
    latents_mean: Means = MEAN
    latents_std: Deviations = STD

    def problem(self) -> str | None:
        if self.attn_scales:
            return "attn_scales: attention inside levels is not supported; must be [], as in every published config"
        return self.uneven("dim_mult")

    def stats(self) -> LatentStats:
        return LatentStats(mean=self.latents_mean, std=self.latents_std)

    def _network(self, channels: int, decoder_dim: int) -> dict[str, Any]:
        return {
            "image": {"channels": channels},
            "latent": {"kind": "gaussian", "channels": self.z_dim},
            "shared": {"norm": "l2", "groups": None, "eps": 1e-12, "act": "silu", "skip": "auto"},
            "encoder": self._encoder([self.base_dim * multiple for multiple in self.dim_mult]),
            "decoder": self._decoder([decoder_dim * multiple for multiple in reversed(self.dim_mult)]),
        }

    def _encoder(self, widths: list[int]) -> Rows:
        rows: Rows = [{"block": "conv", "out": self.base_dim, "kernel": 3}]
        for i, width in enumerate(widths):
            resample = "conv_3x3_asymmetric" if i < len(widths) - 1 else None
            rows.append({"block": "down", "out": width, "layers": self.num_res_blocks, "resample": resample})
        rows.append({"block": "mid", "out": widths[-1], "layers": 1, "heads": 1})
        rows.append({"block": "head", "out": "moments", "kernel": 3})
        return [*rows, {"block": "conv", "out": "moments", "kernel": 1}]

    def _decoder(self, widths: list[int]) -> Rows:
        rows: Rows = [{"block": "conv", "out": "latent", "kernel": 1}]
        rows.append({"block": "conv", "out": widths[0], "kernel": 3})
        rows.append({"block": "mid", "out": widths[0], "layers": 1, "heads": 1})
        for i, width in enumerate(widths):
            row = {"block": "up", "out": width, "layers": self.num_res_blocks + 1, "resample": None}
            if i:
                row |= {"resample": "nearest_conv_3x3", "resample_out": widths[i - 1] // 2}
            rows.append(row)
        return [*rows, {"block": "head", "out": "image", "kernel": 3}]


@dataclass(frozen=True, kw_only=True)
class AutoencoderKLQwenImage(_VideoConfig):
    """Keys of diffusers' AutoencoderKLQwenImage."""

    input_channels: int = 3

    def network(self) -> dict[str, Any]:
        return self._network(self.input_channels, self.base_dim)


@dataclass(frozen=True, kw_only=True)
class AutoencoderKLWan(_VideoConfig):
    """Keys of diffusers' AutoencoderKLWan as in Wan 2.1; those of Wan 2.2 (`is_residual`, `patch_size`) are refused."""

    IGNORED: ClassVar = (*_VideoConfig.IGNORED, "scale_factor_temporal", "scale_factor_spatial", "clip_output")

    decoder_base_dim: Width | None = None
    is_residual: Literal[False] = False
    in_channels: int = 3
    out_channels: int = 3
    patch_size: None = None

    def problem(self) -> str | None:
        return self.channel_change() or super().problem()

    def network(self) -> dict[str, Any]:
        return self._network(self.in_channels, self.decoder_base_dim or self.base_dim)
