"""What the blocks of several families share: layers, then a resampler, or the other way round."""

from collections.abc import Iterable
from fractions import Fraction

from torch import Tensor, nn


class LayersThenResample(nn.Module):
    """(B, C, H, W) -> (B, out, H * scale, W * scale): `layers` in order, then `resample`."""

    def __init__(self, layers: Iterable[nn.Module], resample: nn.Module, out: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.resample = resample
        self.out: int = out
        self.scale: Fraction = resample.scale

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.resample(x)


class ResampleThenLayers(LayersThenResample):
    """(B, C, H, W) -> (B, out, H * scale, W * scale): `resample`, then `layers` in order."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.resample(x)
        for layer in self.layers:
            x = layer(x)
        return x
