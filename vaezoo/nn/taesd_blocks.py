"""Blocks of the tiny autoencoders (TAESD), which have no norms but in an optional pool branch.

Source: madebyollin/taesd@5cccb12d `taesd.py`.
"""

from functools import partial

from torch import Tensor, nn

from vaezoo.nn.base import LayersThenResample, ResampleThenLayers
from vaezoo.nn.layers import ACTIVATIONS, Act, Channels, Conv, Layers, Padding, Width, damp, fresh
from vaezoo.nn.norms import Groups, group_norm
from vaezoo.nn.resamplers.downsamplers import Downsampler
from vaezoo.nn.resamplers.upsamplers import Upsampler

POOL_EXPANSION = 4  # hidden channels of the pool branch per channel
POOL_EPS = 1e-5  # of its norm; PyTorch's default


class TinyLayer(nn.Module):
    """Residual layer of three 3x3 convolutions: (B, in_channels, H, W) -> (B, out, H, W).

    Args:
        in_channels: Number of input channels.
        out: Number of output channels; the skip is a 1x1 convolution without bias if it differs from `in_channels`.
        act: Key of `layers.ACTIVATIONS`.
        pool_groups: Groups of the group norm in a `Pool` before the convolutions; `None` for no pool branch.
        padding: Padding mode of the 3x3 convolutions.
    """

    def __init__(self, in_channels: int, out: int, *, act: Act, pool_groups: Groups, padding: Padding) -> None:
        super().__init__()
        self.act = ACTIVATIONS[act]
        self.pool = Pool(in_channels, act, pool_groups) if pool_groups else nn.Identity()
        self.conv1 = Conv(in_channels, out, 3, padding)
        self.conv2 = Conv(out, out, 3, padding)
        self.conv3 = damp(Conv(out, out, 3, padding))
        self.skip = nn.Identity() if in_channels == out else nn.Conv2d(in_channels, out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(x)
        h = self.act(fresh(self.conv1, x))
        h = self.act(fresh(self.conv2, h))
        return self.act(self.conv3(h) + self.skip(x))


class Pool(nn.Module):
    """Residual 1x1 convolutions around a group norm, which sees the whole image: keeps (B, channels, H, W)."""

    def __init__(self, channels: int, act: str, groups: int) -> None:
        super().__init__()
        self.act = ACTIVATIONS[act]
        self.conv1 = nn.Conv2d(channels, POOL_EXPANSION * channels, 1, bias=False)
        self.norm = group_norm(POOL_EXPANSION * channels, groups, POOL_EPS)
        self.conv2 = damp(nn.Conv2d(POOL_EXPANSION * channels, channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.act(fresh(self.norm, self.conv1(x))))


class TinyDown(LayersThenResample):
    """Residual layers of three convolutions without norms, followed by the resampler (TAESD).

    (B, in_channels, H, W) -> (B, resample_out or out, H * scale, W * scale).

    Args:
        in_channels: Number of input channels.
        out: Number of channels after the first layer.
        layers: Number of residual layers.
        resample: Key of `downsamplers.DOWNSAMPLERS`; null for no resampling.
        resample_out: Number of channels after the resampler; null keeps `out`.
        act: Key of `layers.ACTIVATIONS`.
        pool_groups: Groups of the group norm in the pool branch of each layer; null for no pool branch.
        padding: Padding mode of the 3x3 convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        out: Channels,
        layers: Layers,
        resample: Downsampler,
        resample_out: Width | None = None,
        act: Act,
        pool_groups: Groups = None,
        padding: Padding = "zeros",
    ) -> None:
        build_layer = partial(TinyLayer, act=act, pool_groups=pool_groups, padding=padding)
        super().__init__(build_layer, in_channels, out, layers, resample, resample_out, padding)


class TinyUp(ResampleThenLayers):
    """The resampler, followed by residual layers of three convolutions without norms (TAESD).

    (B, in_channels, H, W) -> (B, out, H * scale, W * scale).

    Args:
        in_channels: Number of input channels.
        out: Number of channels after the first layer.
        layers: Number of residual layers.
        resample: Key of `upsamplers.UPSAMPLERS`; null for no resampling.
        resample_out: Number of channels after the resampler; null keeps `in_channels`.
        act: Key of `layers.ACTIVATIONS`.
        pool_groups: Groups of the group norm in the pool branch of each layer; null for no pool branch.
        padding: Padding mode of the 3x3 convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        out: Channels,
        layers: Layers,
        resample: Upsampler,
        resample_out: Width | None = None,
        act: Act,
        pool_groups: Groups = None,
        padding: Padding = "zeros",
    ) -> None:
        build_layer = partial(TinyLayer, act=act, pool_groups=pool_groups, padding=padding)
        super().__init__(build_layer, in_channels, out, layers, resample, resample_out, padding)
