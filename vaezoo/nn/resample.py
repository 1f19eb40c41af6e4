"""Resamplers: what halves or doubles height and width. Each takes `(in_channels, out, padding)`.

`scale` is the factor by which it changes height and width. Where one has a shortcut, the convolution starts small and
the resampler as its shortcut alone.
"""

from fractions import Fraction
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.nn.layers import damp
from vaezoo.nn.shortcuts import average, check_multiple, duplicate


def unshuffle_outer(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 4C, H/2, W/2): 2x2 patches to channels, the pixel of a patch as the outer index of them."""
    return F.pixel_unshuffle(x, 2).unflatten(1, (-1, 4)).transpose(1, 2).flatten(1, 2)


def shuffle_outer(x: Tensor) -> Tensor:
    """The inverse of `unshuffle_outer`."""
    return F.pixel_shuffle(x.unflatten(1, (4, -1)).transpose(1, 2).flatten(1, 2), 2)


class Conv4x4(nn.Conv2d):
    """(B, in, H, W) -> (B, out, H/2, W/2) by a 4x4 convolution of stride 2, padding 1 (the documented VAE)."""

    scale = Fraction(1, 2)

    def __init__(self, in_channels: int, out: int, padding: str) -> None:
        super().__init__(in_channels, out, 4, stride=2, padding=1, padding_mode=padding)


class Conv3x3Asymmetric(nn.Conv2d):
    """(B, in, H, W) -> (B, out, H/2, W/2) by a 3x3 convolution of stride 2, zeros right and below only.

    They are zeros whatever `padding` says: published weights with another padding keep these.

    Source: CompVis/latent-diffusion `ldm/modules/diffusionmodules/model.py`, `Downsample`.
    """

    scale = Fraction(1, 2)

    def __init__(self, in_channels: int, out: int, padding: str) -> None:
        super().__init__(in_channels, out, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class Conv3x3NoBias(nn.Conv2d):
    """(B, in, H, W) -> (B, out, H/2, W/2) by a 3x3 convolution of stride 2, padding 1, without a bias.

    Source: madebyollin/taesd@5cccb12d `taesd.py`, `Encoder`.
    """

    scale = Fraction(1, 2)

    def __init__(self, in_channels: int, out: int, padding: str) -> None:
        super().__init__(in_channels, out, 3, stride=2, padding=1, bias=False, padding_mode=padding)


class Conv3x3Average(nn.Conv2d):
    """(B, in, H, W) -> (B, out, H/2, W/2): a 3x3 convolution of stride 2, and 2x2 patches averaged to `out` channels.

    Source: mit-han-lab/efficientvit `efficientvit/models/efficientvit/dc_ae.py`, downsample "Conv", "averaging".
    """

    scale = Fraction(1, 2)

    def __init__(self, in_channels: int, out: int, padding: str) -> None:
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
    unshuffle = staticmethod(partial(F.pixel_unshuffle, downscale_factor=2))

    def __init__(self, in_channels: int, out: int, padding: str) -> None:
        check_multiple(out, 4)
        super().__init__(in_channels, out // 4, 3, padding=1, padding_mode=padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.unshuffle(super().forward(x))


class Conv3x3UnshuffleAverage(Conv3x3Unshuffle):
    """`Conv3x3Unshuffle`, and the 2x2 patches themselves averaged to `out` channels.

    Source: mit-han-lab/efficientvit `efficientvit/models/nn/ops.py`, `PixelUnshuffleChannelAveragingDownSampleLayer`.
    """

    def __init__(self, in_channels: int, out: int, padding: str) -> None:
        check_multiple(4 * in_channels, out)
        super().__init__(in_channels, out, padding)
        damp(self)

    def forward(self, x: Tensor) -> Tensor:
        h = super().forward(x)
        return h + average(self.unshuffle(x), h.shape[1])


class Conv3x3UnshuffleAverageOuter(Conv3x3UnshuffleAverage):
    """The same with the four pixels of a patch as the outer index of the channels, not the inner.

    Source: Tencent-Hunyuan/HunyuanImage-2.1 `hyimage/models/vae/hunyuanimage_vae.py`, `Downsample`.
    """

    unshuffle = staticmethod(unshuffle_outer)


class ConvTranspose4x4(nn.ConvTranspose2d):
    """(B, in, H, W) -> (B, out, 2H, 2W) by a 4x4 transposed convolution of stride 2 (the documented VAE)."""

    scale = Fraction(2)

    def __init__(self, in_channels: int, out: int, padding: str) -> None:
        if padding != "zeros":
            raise ValueError(f"a transposed convolution pads with zeros, not padding: {padding}")
        super().__init__(in_channels, out, 4, stride=2, padding=1)


class NearestConv3x3(nn.Conv2d):
    """(B, in, H, W) -> (B, out, 2H, 2W): every pixel four times, then a 3x3 convolution.

    Source: CompVis/latent-diffusion `ldm/modules/diffusionmodules/model.py`, `Upsample`.
    """

    scale = Fraction(2)
    biased = True

    def __init__(self, in_channels: int, out: int, padding: str) -> None:
        super().__init__(in_channels, out, 3, padding=1, padding_mode=padding, bias=self.biased)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class NearestConv3x3NoBias(NearestConv3x3):
    """`NearestConv3x3` without a bias (madebyollin/taesd@5cccb12d `taesd.py`, `Decoder`)."""

    biased = False


class NearestConv3x3Duplicate(NearestConv3x3):
    """`NearestConv3x3`, and the channels repeated and laid out as 2x2 patches.

    Source: mit-han-lab/efficientvit `efficientvit/models/efficientvit/dc_ae.py`, "InterpolateConv", "duplicating".
    """

    def __init__(self, in_channels: int, out: int, padding: str) -> None:
        check_multiple(4 * out, in_channels)
        super().__init__(in_channels, out, padding)
        damp(self)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + F.pixel_shuffle(duplicate(x, 4 * self.out_channels), 2)


class Conv3x3Shuffle(nn.Conv2d):
    """(B, in, H, W) -> (B, out, 2H, 2W): a 3x3 convolution to 4 `out` channels, laid out as 2x2 patches.

    Source: mit-han-lab/efficientvit `efficientvit/models/nn/ops.py`, `ConvPixelShuffleUpSampleLayer`.
    """

    scale = Fraction(2)
    shuffle = staticmethod(partial(F.pixel_shuffle, upscale_factor=2))

    def __init__(self, in_channels: int, out: int, padding: str) -> None:
        super().__init__(in_channels, 4 * out, 3, padding=1, padding_mode=padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.shuffle(super().forward(x))


class Conv3x3ShuffleDuplicate(Conv3x3Shuffle):
    """`Conv3x3Shuffle`, and the channels themselves repeated and laid out as 2x2 patches.

    Source: mit-han-lab/efficientvit `efficientvit/models/nn/ops.py`, `ChannelDuplicatingPixelUnshuffleUpSampleLayer`.
    """

    def __init__(self, in_channels: int, out: int, padding: str) -> None:
        check_multiple(4 * out, in_channels)
        super().__init__(in_channels, out, padding)
        damp(self)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.shuffle(duplicate(x, self.out_channels))


class Conv3x3ShuffleDuplicateOuter(Conv3x3ShuffleDuplicate):
    """The same with the four pixels of a patch as the outer index of the channels, not the inner.

    Source: Tencent-Hunyuan/HunyuanImage-2.1 `hyimage/models/vae/hunyuanimage_vae.py`, `Upsample`.
    """

    shuffle = staticmethod(shuffle_outer)


class Keep(nn.Identity):
    """No resampling; height and width stay."""

    scale = Fraction(1)


DOWNSAMPLERS: dict[str, type[nn.Module]] = {
    "conv_4x4": Conv4x4,
    "conv_3x3_asymmetric": Conv3x3Asymmetric,
    "conv_3x3_no_bias": Conv3x3NoBias,
    "conv_3x3_average": Conv3x3Average,
    "conv_3x3_unshuffle": Conv3x3Unshuffle,
    "conv_3x3_unshuffle_average": Conv3x3UnshuffleAverage,
    "conv_3x3_unshuffle_average_outer": Conv3x3UnshuffleAverageOuter,
}
UPSAMPLERS: dict[str, type[nn.Module]] = {
    "conv_transpose_4x4": ConvTranspose4x4,
    "nearest_conv_3x3": NearestConv3x3,
    "nearest_conv_3x3_no_bias": NearestConv3x3NoBias,
    "nearest_conv_3x3_duplicate": NearestConv3x3Duplicate,
    "conv_3x3_shuffle": Conv3x3Shuffle,
    "conv_3x3_shuffle_duplicate": Conv3x3ShuffleDuplicate,
    "conv_3x3_shuffle_duplicate_outer": Conv3x3ShuffleDuplicateOuter,
}


def resampler(
    table: dict[str, type[nn.Module]], name: str | None, in_channels: int, out: int | None, padding: str
) -> nn.Module:
    """The entry of a table, or `Keep` where `name` is null; `out` null keeps the width."""
    if name is None:
        if out is not None:
            raise ValueError(f"resample_out {out} needs a resample, which is null")
        return Keep()
    return table[name](in_channels, out or in_channels, padding)
