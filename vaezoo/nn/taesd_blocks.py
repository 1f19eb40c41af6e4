"""Rows without norms: the TAESD family.

Source: madebyollin/taesd@5cccb12d `taesd.py`.
"""

from typing import Annotated

from torch import Tensor, nn

from vaezoo.nn.layers import ACTIVATIONS, Act, Channels, Conv, Layers, Padding, Width, damp
from vaezoo.nn.norms import Groups, group_norm
from vaezoo.nn.resample import DOWNSAMPLERS, UPSAMPLERS, resampler
from vaezoo.nn.sequences import LayersThenResample, ResampleThenLayers

POOL_WIDTH, POOL_EPS = 4, 1e-5  # the pool branch is this many times as wide; the eps of its norm is PyTorch's


class TinyLayer(nn.Module):
    """Three 3x3 convolutions with activations, added to a shortcut, and an activation: (B, in_channels, H, W) -> out.

    Args:
        in_channels: Channels that come in.
        out: Channels that go out; a 1x1 convolution without a bias is the shortcut where they differ.
        act: A key of `layers.ACTIVATIONS`.
        pool_groups: Groups of a group norm in a branch that is added first; null is no such branch.
        padding: What the 3x3 convolutions see beyond the edge.
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
        h = self.act(self.conv1(x))
        h = self.act(self.conv2(h))
        return self.act(self.conv3(h) + self.skip(x))


class Pool(nn.Module):
    """A branch that sees the whole image through its group norm, added to x: (B, channels, H, W) -> the same shape."""

    def __init__(self, channels: int, act: str, groups: int) -> None:
        super().__init__()
        self.act = ACTIVATIONS[act]
        self.conv1 = nn.Conv2d(channels, POOL_WIDTH * channels, 1, bias=False)
        self.norm = group_norm(POOL_WIDTH * channels, groups, POOL_EPS)
        self.conv2 = damp(nn.Conv2d(POOL_WIDTH * channels, channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.act(self.norm(self.conv1(x))))


class TinyDown(LayersThenResample):
    """Layers of three convolutions without norms, then the resampler (TAESD).

    (B, in_channels, H, W) -> (B, out, H * scale, W * scale).

    Args:
        in_channels: Channels leaving the previous row.
        out: Channels after the first layer.
        layers: Number of layers.
        resample: A key of `resample.DOWNSAMPLERS`, or null.
        resample_out: Channels after the resampler; null keeps `out`.
        act: A key of `layers.ACTIVATIONS`.
        pool_groups: Groups of the group norm in each layer's pool branch; null is no such branch.
        padding: What the 3x3 convolutions see beyond the edge.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        out: Channels,
        layers: Layers,
        resample: Annotated[str | None, DOWNSAMPLERS],
        resample_out: Width | None = None,
        act: Act,
        pool_groups: Groups = None,
        padding: Padding = "zeros",
    ) -> None:
        made = (
            TinyLayer(out if i else in_channels, out, act=act, pool_groups=pool_groups, padding=padding)
            for i in range(layers)
        )
        super().__init__(made, resampler(DOWNSAMPLERS, resample, out, resample_out, padding), resample_out or out)


class TinyUp(ResampleThenLayers):
    """The resampler, then layers of three convolutions without norms (TAESD).

    (B, in_channels, H, W) -> (B, out, H * scale, W * scale).

    Args:
        in_channels: Channels leaving the previous row.
        out: Channels after the first layer.
        layers: Number of layers.
        resample: A key of `resample.UPSAMPLERS`, or null.
        resample_out: Channels after the resampler; null keeps `in_channels`.
        act: A key of `layers.ACTIVATIONS`.
        pool_groups: Groups of the group norm in each layer's pool branch; null is no such branch.
        padding: What the 3x3 convolutions see beyond the edge.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        out: Channels,
        layers: Layers,
        resample: Annotated[str | None, UPSAMPLERS],
        resample_out: Width | None = None,
        act: Act,
        pool_groups: Groups = None,
        padding: Padding = "zeros",
    ) -> None:
        first = resample_out or in_channels
        made = (
            TinyLayer(out if i else first, out, act=act, pool_groups=pool_groups, padding=padding)
            for i in range(layers)
        )
        super().__init__(made, resampler(UPSAMPLERS, resample, in_channels, resample_out, padding), out)
