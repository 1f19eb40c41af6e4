"""Resamplers: what halves or doubles height and width. Each takes `(in_channels, out)`.

`scale` is the factor by which it changes height and width."""

from fractions import Fraction

import torch.nn.functional as F
from torch import Tensor, nn


class Conv4x4(nn.Conv2d):
    """(B, in, H, W) -> (B, out, H/2, W/2) by a 4x4 convolution of stride 2, padding 1 (the documented VAE)."""

    scale = Fraction(1, 2)

    def __init__(self, in_channels: int, out: int) -> None:
        super().__init__(in_channels, out, 4, stride=2, padding=1)


class Conv3x3Asymmetric(nn.Conv2d):
    """(B, in, H, W) -> (B, out, H/2, W/2) by a 3x3 convolution of stride 2, zeros right and below only.

    Source: CompVis/latent-diffusion `ldm/modules/diffusionmodules/model.py`, `Downsample`.
    """

    scale = Fraction(1, 2)

    def __init__(self, in_channels: int, out: int) -> None:
        super().__init__(in_channels, out, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class ConvTranspose4x4(nn.ConvTranspose2d):
    """(B, in, H, W) -> (B, out, 2H, 2W) by a 4x4 transposed convolution of stride 2 (the documented VAE)."""

    scale = Fraction(2)

    def __init__(self, in_channels: int, out: int) -> None:
        super().__init__(in_channels, out, 4, stride=2, padding=1)


class NearestConv3x3(nn.Conv2d):
    """(B, in, H, W) -> (B, out, 2H, 2W): every pixel four times, then a 3x3 convolution.

    Source: CompVis/latent-diffusion `ldm/modules/diffusionmodules/model.py`, `Upsample`.
    """

    scale = Fraction(2)

    def __init__(self, in_channels: int, out: int) -> None:
        super().__init__(in_channels, out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Keep(nn.Identity):
    """No resampling; height and width stay."""

    scale = Fraction(1)


DOWNSAMPLERS: dict[str, type[nn.Module]] = {"conv_4x4": Conv4x4, "conv_3x3_asymmetric": Conv3x3Asymmetric}
UPSAMPLERS: dict[str, type[nn.Module]] = {"conv_transpose_4x4": ConvTranspose4x4, "nearest_conv_3x3": NearestConv3x3}


def resampler(table: dict[str, type[nn.Module]], name: str | None, in_channels: int, out: int) -> nn.Module:
    """The entry of a table, or `Keep` where `name` is null."""
    return Keep() if name is None else table[name](in_channels, out)
