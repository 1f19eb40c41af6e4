"""Rows of the deep-compression autoencoders: convolutions with the norm last, and EfficientViT layers.

Source: Chen et al. 2024 (arXiv:2410.10733); mit-han-lab/efficientvit `efficientvit/models/nn/ops.py`.
"""

from typing import Annotated

from torch import Tensor, nn

from vaezoo.nn.efficientvit import EfficientViTLayer, HeadChannels, Kernels
from vaezoo.nn.layers import ACTIVATIONS, Act, Conv, Layers, Padding, Width, damp
from vaezoo.nn.norms import Norm
from vaezoo.nn.resample import DOWNSAMPLERS, UPSAMPLERS, resampler
from vaezoo.nn.sequences import LayersThenResample, ResampleThenLayers
from vaezoo.specs.check import Between

Expand = Annotated[int, Between(1, 16)]


class NormLastLayer(nn.Module):
    """3x3 convolution, act, 3x3 convolution without a bias, norm, added to the input: (B, C, H, W) -> the same shape.

    Args:
        channels: C.
        norm: The norm and its settings.
        act: A key of `layers.ACTIVATIONS`.
        padding: What the 3x3 convolutions see beyond the edge.
    """

    def __init__(self, channels: int, *, norm: Norm, act: Act, padding: Padding) -> None:
        super().__init__()
        self.act = ACTIVATIONS[act]
        self.conv1 = Conv(channels, channels, 3, padding)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False, padding_mode=padding)
        self.norm = damp(norm.build(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.conv2(self.act(self.conv1(x))))


class DCDown(LayersThenResample):
    """Residual layers with the norm last, then the resampler (DC-AE); the layers keep the width.

    (B, in_channels, H, W) -> (B, resample_out or in_channels, H * scale, W * scale).

    Args:
        in_channels: Channels leaving the previous row, and of all layers.
        layers: Number of residual layers.
        resample: A key of `resample.DOWNSAMPLERS`, or null.
        resample_out: Channels after the resampler; null keeps them.
        norm: The norm and its settings.
        act: A key of `layers.ACTIVATIONS`.
        padding: What the 3x3 convolutions see beyond the edge.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        layers: Layers,
        resample: Annotated[str | None, DOWNSAMPLERS],
        resample_out: Width | None = None,
        norm: Norm,
        act: Act,
        padding: Padding = "zeros",
    ) -> None:
        made = (NormLastLayer(in_channels, norm=norm, act=act, padding=padding) for _ in range(layers))
        last = resampler(DOWNSAMPLERS, resample, in_channels, resample_out, padding)
        super().__init__(made, last, resample_out or in_channels)


class DCUp(ResampleThenLayers):
    """The resampler, then residual layers with the norm last (DC-AE); the layers keep the width.

    (B, in_channels, H, W) -> (B, resample_out or in_channels, H * scale, W * scale).

    Args:
        in_channels: Channels leaving the previous row.
        layers: Number of residual layers.
        resample: A key of `resample.UPSAMPLERS`, or null.
        resample_out: Channels after the resampler, and of all layers; null keeps `in_channels`.
        norm: The norm and its settings.
        act: A key of `layers.ACTIVATIONS`.
        padding: What the 3x3 convolutions see beyond the edge.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        layers: Layers,
        resample: Annotated[str | None, UPSAMPLERS],
        resample_out: Width | None = None,
        norm: Norm,
        act: Act,
        padding: Padding = "zeros",
    ) -> None:
        width = resample_out or in_channels
        first = resampler(UPSAMPLERS, resample, in_channels, resample_out, padding)
        made = (NormLastLayer(width, norm=norm, act=act, padding=padding) for _ in range(layers))
        super().__init__(made, first, width)


class ViTDown(LayersThenResample):
    """EfficientViT layers, then the resampler (DC-AE); the layers keep the width.

    (B, in_channels, H, W) -> (B, resample_out or in_channels, H * scale, W * scale).

    Args:
        in_channels: Channels leaving the previous row, and of all layers.
        layers: Number of EfficientViT layers.
        resample: A key of `resample.DOWNSAMPLERS`, or null.
        resample_out: Channels after the resampler; null keeps them.
        head_channels: Channels of one attention head; must divide `in_channels`.
        kernels: Kernel sizes, odd, of further queries, keys and values gathered from around each position.
        expand: The gated convolutions are this many times as wide.
        norm: The norm and its settings.
        act: A key of `layers.ACTIVATIONS`, of the gated convolutions.
        padding: What the resampler sees beyond the edge.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        layers: Layers,
        resample: Annotated[str | None, DOWNSAMPLERS],
        resample_out: Width | None = None,
        head_channels: HeadChannels,
        kernels: Kernels,
        expand: Expand,
        norm: Norm,
        act: Act,
        padding: Padding = "zeros",
    ) -> None:
        settings = {"head_channels": head_channels, "kernels": kernels, "expand": expand}
        settings |= {"norm": norm, "act": act}
        last = resampler(DOWNSAMPLERS, resample, in_channels, resample_out, padding)
        made = (EfficientViTLayer(in_channels, **settings) for _ in range(layers))
        super().__init__(made, last, resample_out or in_channels)


class ViTUp(ResampleThenLayers):
    """The resampler, then EfficientViT layers (DC-AE); the layers keep the width.

    (B, in_channels, H, W) -> (B, resample_out or in_channels, H * scale, W * scale).

    Args:
        in_channels: Channels leaving the previous row.
        layers: Number of EfficientViT layers.
        resample: A key of `resample.UPSAMPLERS`, or null.
        resample_out: Channels after the resampler, and of all layers; null keeps `in_channels`.
        head_channels: Channels of one attention head; must divide the layers' width.
        kernels: Kernel sizes, odd, of further queries, keys and values gathered from around each position.
        expand: The gated convolutions are this many times as wide.
        norm: The norm and its settings.
        act: A key of `layers.ACTIVATIONS`, of the gated convolutions.
        padding: What the resampler sees beyond the edge.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        layers: Layers,
        resample: Annotated[str | None, UPSAMPLERS],
        resample_out: Width | None = None,
        head_channels: HeadChannels,
        kernels: Kernels,
        expand: Expand,
        norm: Norm,
        act: Act,
        padding: Padding = "zeros",
    ) -> None:
        settings = {"head_channels": head_channels, "kernels": kernels, "expand": expand}
        settings |= {"norm": norm, "act": act}
        width = resample_out or in_channels
        first = resampler(UPSAMPLERS, resample, in_channels, resample_out, padding)
        super().__init__((EfficientViTLayer(width, **settings) for _ in range(layers)), first, width)
