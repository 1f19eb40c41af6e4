"""Rows that stand at an end of a network: a single convolution, a head, a resampler alone."""

from fractions import Fraction
from typing import Annotated

from torch import Tensor, nn

from vaezoo.nn.layers import ACTIVATIONS, Act, Channels, Conv, Kernel, Padding
from vaezoo.nn.norms import Norm
from vaezoo.nn.resample import DOWNSAMPLERS, UPSAMPLERS, resampler
from vaezoo.nn.sequences import LayersThenResample
from vaezoo.nn.shortcuts import Shortcut, find_shortcut
from vaezoo.specs.check import Between


class ConvBlock(Conv):
    """One convolution: (B, in_channels, H, W) -> (B, out, H, W).

    Args:
        in_channels: Channels leaving the previous row.
        out: Channels of the result.
        kernel: Kernel size, odd. A 1x1 convolution of unchanged width starts as the identity (quant convs).
        padding: What the convolution sees beyond the edge.
        shortcut: A key of `shortcuts.SHORTCUTS`, added to the convolution's result; or null.
    """

    scale = Fraction(1)

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


class Head(nn.Module):
    """Norm, act, convolution: (B, in_channels, H, W) -> (B, out, H, W).

    Args:
        in_channels: Channels leaving the previous row.
        out: Channels of the result.
        kernel: Kernel size, odd.
        norm: The norm and its settings.
        act: A key of `layers.ACTIVATIONS`.
        padding: What the convolution sees beyond the edge.
        shortcut: A key of `shortcuts.SHORTCUTS`, from the row's input to its result; or null.
    """

    scale = Fraction(1)

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
        h = self.conv(self.act(self.norm(x)))
        return h + self.shortcut(x) if self.shortcut else h


class ConvAct(nn.Conv2d):
    """One convolution and an activation: (B, in_channels, H, W) -> (B, out, H / stride, W / stride).

    Args:
        in_channels: Channels leaving the previous row.
        out: Channels of the result.
        kernel: Kernel size, odd.
        stride: Divides height and width.
        act: A key of `layers.ACTIVATIONS`.
        padding: What the convolution sees beyond the edge.
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


class NormAct(nn.Module):
    """Norm and act: (B, in_channels, H, W) -> the same shape.

    Args:
        in_channels: Channels leaving the previous row.
        norm: The norm and its settings.
        act: A key of `layers.ACTIVATIONS`.
    """

    scale = Fraction(1)

    def __init__(self, in_channels: int, *, norm: Norm, act: Act) -> None:
        super().__init__()
        self.out = in_channels
        self.act = ACTIVATIONS[act]
        self.norm = norm.build(in_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(x))


class Downsample(LayersThenResample):
    """A resampler alone: (B, in_channels, H, W) -> (B, out, H * scale, W * scale).

    Args:
        in_channels: Channels leaving the previous row.
        out: Channels after it.
        resample: A key of `resample.DOWNSAMPLERS`.
        padding: What the convolution sees beyond the edge.
    """

    def __init__(
        self, in_channels: int, *, out: Channels, resample: Annotated[str, DOWNSAMPLERS], padding: Padding = "zeros"
    ) -> None:
        super().__init__((), resampler(DOWNSAMPLERS, resample, in_channels, out, padding), out)


class Upsample(LayersThenResample):
    """A resampler alone: (B, in_channels, H, W) -> (B, out, H * scale, W * scale).

    Args:
        in_channels: Channels leaving the previous row.
        out: Channels after it.
        resample: A key of `resample.UPSAMPLERS`.
        padding: What the convolution sees beyond the edge.
    """

    def __init__(
        self, in_channels: int, *, out: Channels, resample: Annotated[str, UPSAMPLERS], padding: Padding = "zeros"
    ) -> None:
        super().__init__((), resampler(UPSAMPLERS, resample, in_channels, out, padding), out)
