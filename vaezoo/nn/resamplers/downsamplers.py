"""Downsamplers, which halve height and width, each built from `(in_channels, out, padding)`.

In those with a shortcut the convolution starts small, so that they begin close to the shortcut. To add one, add a class
and its key in `DOWNSAMPLERS`.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.nn.layers import Padding, damp
from vaezoo.nn.resamplers.resample import ResamplerTable
from vaezoo.nn.shortcuts import average, check_multiple


def unshuffle_outer(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 4C, H/2, W/2): 2x2 patches to channels, ordered by pixel of the patch, then by channel."""
    return F.pixel_unshuffle(x, 2).unflatten(1, (-1, 4)).transpose(1, 2).flatten(1, 2)


class Conv4x4(nn.Conv2d):
    """(B, in, H, W) -> (B, out, H/2, W/2) by a 4x4 convolution with stride 2, padding 1 (the documented VAE)."""

    scale = Fraction(1, 2)

    def __init__(self, in_channels: int, out: int, padding: Padding) -> None:
        super().__init__(in_channels, out, 4, stride=2, padding=1, padding_mode=padding)


class Conv3x3Asymmetric(nn.Conv2d):
    """(B, in, H, W) -> (B, out, H/2, W/2) by a 3x3 convolution with stride 2, zero-padded right and below only.

    `padding` has no effect: published weights with another padding mode also use zeros here.

    Source: CompVis/latent-diffusion `ldm/modules/diffusionmodules/model.py`, `Downsample`.
    """

    scale = Fraction(1, 2)

    def __init__(self, in_channels: int, out: int, padding: Padding) -> None:
        super().__init__(in_channels, out, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class Conv3x3NoBias(nn.Conv2d):
    """(B, in, H, W) -> (B, out, H/2, W/2) by a 3x3 convolution with stride 2, padding 1 and no bias.

    Source: madebyollin/taesd@5cccb12d `taesd.py`, `Encoder`.
    """

    scale = Fraction(1, 2)

    def __init__(self, in_channels: int, out: int, padding: Padding) -> None:
        super().__init__(in_channels, out, 3, stride=2, padding=1, bias=False, padding_mode=padding)


class Conv3x3Average(nn.Conv2d):
    """(B, in, H, W) -> (B, out, H/2, W/2): a 3x3 convolution with stride 2 plus the averaged channels of 2x2 patches.

    Source: mit-han-lab/efficientvit `efficientvit/models/efficientvit/dc_ae.py`, downsample "Conv", "averaging".
    """

    scale = Fraction(1, 2)

    def __init__(self, in_channels: int, out: int, padding: Padding) -> None:
        check_multiple(4 * in_channels, out)
        super().__init__(in_channels, out, 3, stride=2, padding=1, padding_mode=padding)
        damp(self)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + average(F.pixel_unshuffle(x, 2), self.out_channels)


class Conv3x3Unshuffle(nn.Conv2d):
    """(B, in, H, W) -> (B, out, H/2, W/2): a 3x3 convolution to `out` / 4 channels, then 2x2 patches to channels.

    Source: mit-han-lab/efficientvit `efficientvit/models/nn/ops.py`, `ConvPixelUnshuffleDownSampleLayer`.
    """

    scale = Fraction(1, 2)
    unshuffle: Callable[[Tensor], Tensor] = staticmethod(partial(F.pixel_unshuffle, downscale_factor=2))

    def __init__(self, in_channels: int, out: int, padding: Padding) -> None:
        check_multiple(out, 4)
        super().__init__(in_channels, out // 4, 3, padding=1, padding_mode=padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.unshuffle(super().forward(x))


class Conv3x3UnshuffleAverage(Conv3x3Unshuffle):
    """`Conv3x3Unshuffle` plus the averaged channels of 2x2 patches.

    Source: mit-han-lab/efficientvit `efficientvit/models/nn/ops.py`, `PixelUnshuffleChannelAveragingDownSampleLayer`.
    """

    def __init__(self, in_channels: int, out: int, padding: Padding) -> None:
        check_multiple(4 * in_channels, out)
        super().__init__(in_channels, out, padding)
        damp(self)

    def forward(self, x: Tensor) -> Tensor:
        h = super().forward(x)
        return h + average(self.unshuffle(x), h.shape[1])


class Conv3x3UnshuffleAverageOuter(Conv3x3UnshuffleAverage):
    """The same with channels ordered by pixel of the patch first.

    Source: Tencent-Hunyuan/HunyuanImage-2.1 `hyimage/models/vae/hunyuanimage_vae.py`, `Downsample`.
    """

    unshuffle = staticmethod(unshuffle_outer)


DOWNSAMPLERS: ResamplerTable = {
    "conv_4x4": Conv4x4,
    "conv_3x3_asymmetric": Conv3x3Asymmetric,
    "conv_3x3_no_bias": Conv3x3NoBias,
    "conv_3x3_average": Conv3x3Average,
    "conv_3x3_unshuffle": Conv3x3Unshuffle,
    "conv_3x3_unshuffle_average": Conv3x3UnshuffleAverage,
    "conv_3x3_unshuffle_average_outer": Conv3x3UnshuffleAverageOuter,
}
Downsampler = Annotated[str | None, DOWNSAMPLERS]
