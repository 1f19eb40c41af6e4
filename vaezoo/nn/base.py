"""Base classes of blocks."""

from collections.abc import Callable
from fractions import Fraction

from torch import Tensor, nn

from vaezoo.nn.layers import Padding
from vaezoo.nn.resamplers.downsamplers import DOWNSAMPLERS
from vaezoo.nn.resamplers.resample import build_resampler
from vaezoo.nn.resamplers.upsamplers import UPSAMPLERS

BuildLayer = Callable[[int, int], nn.Module]  # from numbers of input and output channels


class Block(nn.Module):
    """The module that one row of a spec describes: (B, in_channels, H, W) -> (B, out, H * scale, W * scale).

    Attributes:
        out: Number of output channels, which the next block receives as `in_channels`.
        scale: Factor by which height and width change; at most 1 in an encoder and at least 1 in a decoder.
    """

    out: int
    scale: Fraction = Fraction(1)


class LayersThenResample(Block):
    """Layers followed by an optional downsampler.

    Args:
        build_layer: Builds a layer from its numbers of input and output channels.
        in_channels: Number of input channels.
        out: Number of channels after the first layer.
        layers: Number of layers.
        resample: Key of `downsamplers.DOWNSAMPLERS`; `None` for no resampling.
        resample_out: Number of channels after the resampler; `None` keeps `out`.
        padding: Padding mode of the resampler.
    """

    def __init__(
        self,
        build_layer: BuildLayer,
        in_channels: int,
        out: int,
        layers: int,
        resample: str | None,
        resample_out: int | None,
        padding: Padding,
    ) -> None:
        super().__init__()
        resampler = build_resampler(DOWNSAMPLERS, resample, out, resample_out, padding)  # draws its weights first
        self.layers = nn.ModuleList(build_layer(out if i else in_channels, out) for i in range(layers))
        self.resample = resampler
        self.out = resample_out or out
        self.scale = resampler.scale

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.resample(x)


class ResampleThenLayers(Block):
    """An optional upsampler followed by layers.

    Args:
        build_layer: Builds a layer from its numbers of input and output channels.
        in_channels: Number of input channels.
        out: Number of channels after the first layer; `None` keeps those after the resampler.
        layers: Number of layers.
        resample: Key of `upsamplers.UPSAMPLERS`; `None` for no resampling.
        resample_out: Number of channels after the resampler; `None` keeps `in_channels`.
        padding: Padding mode of the resampler.
    """

    def __init__(
        self,
        build_layer: BuildLayer,
        in_channels: int,
        out: int | None,
        layers: int,
        resample: str | None,
        resample_out: int | None,
        padding: Padding,
    ) -> None:
        super().__init__()
        width = resample_out or in_channels
        resampler = build_resampler(UPSAMPLERS, resample, in_channels, resample_out, padding)  # draws its weights first
        self.out = out or width
        self.layers = nn.ModuleList(build_layer(self.out if i else width, self.out) for i in range(layers))
        self.resample = resampler
        self.scale = resampler.scale

    def forward(self, x: Tensor) -> Tensor:
        x = self.resample(x)
        for layer in self.layers:
            x = layer(x)
        return x
