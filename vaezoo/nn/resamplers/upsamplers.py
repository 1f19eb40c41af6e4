"""Upsamplers, which double height and width, each built from `(in_channels, out, padding)`.

In those with a shortcut the convolution starts small, so that they begin close to the shortcut. To add one, add a class
and its key in `UPSAMPLERS`.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from vaezoo.nn.layers import Padding, damp
from vaezoo.nn.resamplers.resample import ResamplerTable
from vaezoo.nn.shortcuts import check_multiple, duplicate

LARGEST_INDEX = 2**31 - 1


def upsample_nearest(x: Tensor, factor: int = 2) -> Tensor:
    """(B, C, H, W) -> (B, C, factor * H, factor * W): every pixel becomes a square of copies.

    On GPUs, PyTorch's kernel for channels_last computes positions in 32 bits and leaves zeros, without an error, in
    results of more than 2^31 elements (pytorch/pytorch#141831); that for contiguous maps does not. Subclasses of
    `Tensor` can override this function.
    """
    if type(x) is not Tensor and has_torch_function_unary(x):  # function modes get the calls below
        return handle_torch_function(upsample_nearest, (x,), x, factor)
    if x.device.type == "cuda" and factor**2 * x.shape.numel() > LARGEST_INDEX:
        x = x.contiguous()
    return F.interpolate(x, scale_factor=float(factor), mode="nearest")


def shuffle_outer(x: Tensor) -> Tensor:
    """(B, 4C, H, W) -> (B, C, 2H, 2W): the inverse of `downsamplers.unshuffle_outer`."""
    return F.pixel_shuffle(x.unflatten(1, (4, -1)).transpose(1, 2).flatten(1, 2), 2)


class ConvTranspose4x4(nn.ConvTranspose2d):
    """(B, in, H, W) -> (B, out, 2H, 2W) by a 4x4 transposed convolution with stride 2 (the documented VAE)."""

    scale = Fraction(2)

    def __init__(self, in_channels: int, out: int, padding: Padding) -> None:
        if padding != "zeros":
            raise ValueError(f"a transposed convolution pads with zeros, not padding: {padding}")
        super().__init__(in_channels, out, 4, stride=2, padding=1)


class NearestConv3x3(nn.Conv2d):
    """(B, in, H, W) -> (B, out, 2H, 2W): nearest-neighbor upsampling by 2, then a 3x3 convolution.

    Source: CompVis/latent-diffusion `ldm/modules/diffusionmodules/model.py`, `Upsample`.
    """

    scale = Fraction(2)
    biased = True

    def __init__(self, in_channels: int, out: int, padding: Padding) -> None:
        super().__init__(in_channels, out, 3, padding=1, padding_mode=padding, bias=self.biased)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(upsample_nearest(x))


class NearestConv3x3NoBias(NearestConv3x3):
    """`NearestConv3x3` without a bias (madebyollin/taesd@5cccb12d `taesd.py`, `Decoder`)."""

    biased = False


class NearestConv3x3Duplicate(NearestConv3x3):
    """`NearestConv3x3` plus copies of the channels rearranged to 2x2 patches.

    Source: mit-han-lab/efficientvit `efficientvit/models/efficientvit/dc_ae.py`, "InterpolateConv", "duplicating".
    """

    def __init__(self, in_channels: int, out: int, padding: Padding) -> None:
        check_multiple(4 * out, in_channels)
        super().__init__(in_channels, out, padding)
        damp(self)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + F.pixel_shuffle(duplicate(x, 4 * self.out_channels), 2)


class Conv3x3Shuffle(nn.Conv2d):
    """(B, in, H, W) -> (B, out, 2H, 2W): a 3x3 convolution to 4 * `out` channels, rearranged to 2x2 patches.

    Source: mit-han-lab/efficientvit `efficientvit/models/nn/ops.py`, `ConvPixelShuffleUpSampleLayer`.
    """

    scale = Fraction(2)
    shuffle: Callable[[Tensor], Tensor] = staticmethod(partial(F.pixel_shuffle, upscale_factor=2))

    def __init__(self, in_channels: int, out: int, padding: Padding) -> None:
        super().__init__(in_channels, 4 * out, 3, padding=1, padding_mode=padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.shuffle(super().forward(x))


class Conv3x3ShuffleDuplicate(Conv3x3Shuffle):
    """`Conv3x3Shuffle` plus copies of the channels rearranged to 2x2 patches.

    Source: mit-han-lab/efficientvit `efficientvit/models/nn/ops.py`, `ChannelDuplicatingPixelUnshuffleUpSampleLayer`.
    """

    def __init__(self, in_channels: int, out: int, padding: Padding) -> None:
        check_multiple(4 * out, in_channels)
        super().__init__(in_channels, out, padding)
        damp(self)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.shuffle(duplicate(x, self.out_channels))


class Conv3x3ShuffleDuplicateOuter(Conv3x3ShuffleDuplicate):
    """The same with channels ordered by pixel of the patch first.

    Source: Tencent-Hunyuan/HunyuanImage-2.1 `hyimage/models/vae/hunyuanimage_vae.py`, `Upsample`.
    """

    shuffle = staticmethod(shuffle_outer)


UPSAMPLERS: ResamplerTable = {
    "conv_transpose_4x4": ConvTranspose4x4,
    "nearest_conv_3x3": NearestConv3x3,
    "nearest_conv_3x3_no_bias": NearestConv3x3NoBias,
    "nearest_conv_3x3_duplicate": NearestConv3x3Duplicate,
    "conv_3x3_shuffle": Conv3x3Shuffle,
    "conv_3x3_shuffle_duplicate": Conv3x3ShuffleDuplicate,
    "conv_3x3_shuffle_duplicate_outer": Conv3x3ShuffleDuplicateOuter,
}


Upsampler = Annotated[str | None, UPSAMPLERS]
