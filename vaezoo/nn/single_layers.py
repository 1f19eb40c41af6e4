"""Blocks of a single layer: a convolution, a head, a norm with an activation, a resampler."""

from fractions import Fraction
from typing import Annotated

from torch import Tensor, nn

from vaezoo.nn.base import Block
from vaezoo.nn.layers import ACTIVATIONS, Act, Channels, Conv, Kernel, Padding, fresh
from vaezoo.nn.norms import Norm
from vaezoo.nn.resamplers.downsamplers import DOWNSAMPLERS
from vaezoo.nn.resamplers.resample import Resampler, build_resampler
from vaezoo.nn.resamplers.upsamplers import UPSAMPLERS
from vaezoo.nn.shortcuts import Shortcut, find_shortcut
from vaezoo.specs.marks import Between


class ConvBlock(Conv, Block):
    """A convolution: (B, in_channels, H, W) -> (B, out, H, W).

    Args:
        in_channels: Number of input channels.
        out: Number of output channels.
        kernel: Kernel size, odd. A 1x1 convolution that keeps the number of channels starts as the identity.
        padding: Padding mode of the convolution.
        shortcut: Key of `shortcuts.SHORTCUTS`, a parallel path from input to output; null for none.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        out: Channels,
        kernel: Kernel,
        padding: Padding = "zeros",
        shortcut: Shortcut = None,
    ) -> None:
        super().__init__(in_channels, out, kernel, padding)
        self.out = out
        self.shortcut = find_shortcut(shortcut, in_channels, out)

    def forward(self, x: Tensor) -> Tensor:
        h = super().forward(x)
        return h + self.shortcut(x) if self.shortcut else h


class Head(Block):
    """Norm, activation and convolution: (B, in_channels, H, W) -> (B, out, H, W).

    Args:
        in_channels: Number of input channels.
        out: Number of output channels.
        kernel: Kernel size, odd.
        norm: Norm of the input, with its settings.
        act: Key of `layers.ACTIVATIONS`.
        padding: Padding mode of the convolution.
        shortcut: Key of `shortcuts.SHORTCUTS`, a parallel path from input to output; null for none.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        out: Channels,
        kernel: Kernel,
        norm: Norm,
        act: Act,
        padding: Padding = "zeros",
        shortcut: Shortcut = None,
    ) -> None:
        super().__init__()
        self.out = out
        self.act = ACTIVATIONS[act]
        self.norm = norm.build(in_channels)
        self.conv = Conv(in_channels, out, kernel, padding)
        self.shortcut = find_shortcut(shortcut, in_channels, out)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(self.act(fresh(self.norm, x)))
        return h + self.shortcut(x) if self.shortcut else h


class ConvAct(nn.Conv2d, Block):
    """A convolution and an activation: (B, in_channels, H, W) -> (B, out, H / stride, W / stride).

    Args:
        in_channels: Number of input channels.
        out: Number of output channels.
        kernel: Kernel size, odd.
        stride: Factor by which height and width are divided.
        act: Key of `layers.ACTIVATIONS`.
        padding: Padding mode of the convolution.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        out: Channels,
        kernel: Kernel,
        stride: Annotated[int, Between(1, 16)],
        act: Act,
        padding: Padding = "zeros",
    ) -> None:
        if kernel % 2 == 0 or kernel < stride:
            raise ValueError(f"kernel {kernel} is even, or smaller than stride {stride}")
        super().__init__(in_channels, out, kernel, stride, kernel // 2, padding_mode=padding)
        self.out = out
        self.scale = Fraction(1, stride)
        self.act = ACTIVATIONS[act]

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


class NormAct(Block):
    """Norm and activation: (B, in_channels, H, W) -> the same shape.

    Args:
        in_channels: Number of input channels.
        norm: Norm of the input, with its settings.
        act: Key of `layers.ACTIVATIONS`.
    """

    def __init__(self, in_channels: int, *, norm: Norm, act: Act) -> None:
        super().__init__()
        self.out = in_channels
        self.act = ACTIVATIONS[act]
        self.norm = norm.build(in_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(fresh(self.norm, x))


class _ResampleBlock(Block):
    """A resampler by itself."""

    def __init__(self, resampler: Resampler, out: int) -> None:
        super().__init__()
        self.resample = resampler
        self.out = out
        self.scale = resampler.scale

    def forward(self, x: Tensor) -> Tensor:
        return self.resample(x)


class Downsample(_ResampleBlock):
    """A downsampler by itself: (B, in_channels, H, W) -> (B, out, H * scale, W * scale).

    Args:
        in_channels: Number of input channels.
        out: Number of output channels.
        resample: Key of `downsamplers.DOWNSAMPLERS`.
        padding: Padding mode of the convolution.
    """

    def __init__(
        self, in_channels: int, *, out: Channels, resample: Annotated[str, DOWNSAMPLERS], padding: Padding = "zeros"
    ) -> None:
        super().__init__(build_resampler(DOWNSAMPLERS, resample, in_channels, out, padding), out)


class Upsample(_ResampleBlock):
    """An upsampler by itself: (B, in_channels, H, W) -> (B, out, H * scale, W * scale).

    Args:
        in_channels: Number of input channels.
        out: Number of output channels.
        resample: Key of `upsamplers.UPSAMPLERS`.
        padding: Padding mode of the convolution.
    """

    def __init__(
        self, in_channels: int, *, out: Channels, resample: Annotated[str, UPSAMPLERS], padding: Padding = "zeros"
    ) -> None:
        super().__init__(build_resampler(UPSAMPLERS, resample, in_channels, out, padding), out)
