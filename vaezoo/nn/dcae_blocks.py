"""Blocks of the deep-compression autoencoders (DC-AE): convolutions with the norm last, and EfficientViT layers.

Source: Chen et al. 2024 (arXiv:2410.10733); mit-han-lab/efficientvit `efficientvit/models/nn/ops.py`.
"""

from typing import Annotated

from torch import Tensor, nn

from vaezoo.nn.base import LayersThenResample, ResampleThenLayers
from vaezoo.nn.efficientvit import EfficientViTLayer, HeadChannels, Kernels
from vaezoo.nn.layers import ACTIVATIONS, Act, Conv, Layers, Padding, Width, damp, fresh
from vaezoo.nn.norms import Norm
from vaezoo.nn.resamplers.downsamplers import Downsampler
from vaezoo.nn.resamplers.upsamplers import Upsampler
from vaezoo.specs.marks import Between

Expand = Annotated[int, Between(1, 16)]


class NormLastLayer(nn.Module):
    """3x3 convolution, activation, 3x3 convolution without bias, norm, plus the input: keeps (B, C, H, W).

    Args:
        channels: C.
        norm: Norm of the layer, with its settings.
        act: Key of `layers.ACTIVATIONS`.
        padding: Padding mode of the convolutions.
    """

    def __init__(self, channels: int, *, norm: Norm, act: Act, padding: Padding) -> None:
        super().__init__()
        self.act = ACTIVATIONS[act]
        self.conv1 = Conv(channels, channels, 3, padding)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False, padding_mode=padding)
        self.norm = damp(norm.build(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.conv2(self.act(fresh(self.conv1, x))))


class DCDown(LayersThenResample):
    """Residual layers with the norm last, followed by the resampler (DC-AE). The layers keep the number of channels.

    (B, in_channels, H, W) -> (B, resample_out or in_channels, H * scale, W * scale).

    Args:
        in_channels: Number of input channels, also of all layers.
        layers: Number of residual layers.
        resample: Key of `downsamplers.DOWNSAMPLERS`; null for no resampling.
        resample_out: Number of channels after the resampler; null keeps `in_channels`.
        norm: Norm of the layers, with its settings.
        act: Key of `layers.ACTIVATIONS`.
        padding: Padding mode of the convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        layers: Layers,
        resample: Downsampler,
        resample_out: Width | None = None,
        norm: Norm,
        act: Act,
        padding: Padding = "zeros",
    ) -> None:
        def build_layer(channels: int, _: int) -> nn.Module:
            return NormLastLayer(channels, norm=norm, act=act, padding=padding)

        super().__init__(build_layer, in_channels, in_channels, layers, resample, resample_out, padding)


class DCUp(ResampleThenLayers):
    """The resampler, followed by residual layers with the norm last (DC-AE). The layers keep the number of channels.

    (B, in_channels, H, W) -> (B, resample_out or in_channels, H * scale, W * scale).

    Args:
        in_channels: Number of input channels.
        layers: Number of residual layers.
        resample: Key of `upsamplers.UPSAMPLERS`; null for no resampling.
        resample_out: Number of channels after the resampler, also of all layers; null keeps `in_channels`.
        norm: Norm of the layers, with its settings.
        act: Key of `layers.ACTIVATIONS`.
        padding: Padding mode of the convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        layers: Layers,
        resample: Upsampler,
        resample_out: Width | None = None,
        norm: Norm,
        act: Act,
        padding: Padding = "zeros",
    ) -> None:
        def build_layer(channels: int, _: int) -> nn.Module:
            return NormLastLayer(channels, norm=norm, act=act, padding=padding)

        super().__init__(build_layer, in_channels, None, layers, resample, resample_out, padding)


class ViTDown(LayersThenResample):
    """EfficientViT layers, followed by the resampler (DC-AE). The layers keep the number of channels.

    (B, in_channels, H, W) -> (B, resample_out or in_channels, H * scale, W * scale).

    Args:
        in_channels: Number of input channels, also of all layers.
        layers: Number of EfficientViT layers.
        resample: Key of `downsamplers.DOWNSAMPLERS`; null for no resampling.
        resample_out: Number of channels after the resampler; null keeps `in_channels`.
        head_channels: Channels of one attention head; must divide `in_channels`.
        kernels: Kernel sizes, odd, of the depthwise convolutions that make multi-scale queries, keys and values.
        expand: Expansion ratio of the gated convolutions.
        norm: Norm of the layers, with its settings.
        act: Key of `layers.ACTIVATIONS`, for the gated convolutions.
        padding: Padding mode of the resampler.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        layers: Layers,
        resample: Downsampler,
        resample_out: Width | None = None,
        head_channels: HeadChannels,
        kernels: Kernels,
        expand: Expand,
        norm: Norm,
        act: Act,
        padding: Padding = "zeros",
    ) -> None:
        def build_layer(channels: int, _: int) -> nn.Module:
            return EfficientViTLayer(channels, head_channels, kernels, expand, norm, act)

        super().__init__(build_layer, in_channels, in_channels, layers, resample, resample_out, padding)


class ViTUp(ResampleThenLayers):
    """The resampler, followed by EfficientViT layers (DC-AE). The layers keep the number of channels.

    (B, in_channels, H, W) -> (B, resample_out or in_channels, H * scale, W * scale).

    Args:
        in_channels: Number of input channels.
        layers: Number of EfficientViT layers.
        resample: Key of `upsamplers.UPSAMPLERS`; null for no resampling.
        resample_out: Number of channels after the resampler, also of all layers; null keeps `in_channels`.
        head_channels: Channels of one attention head; must divide the number of channels of the layers.
        kernels: Kernel sizes, odd, of the depthwise convolutions that make multi-scale queries, keys and values.
        expand: Expansion ratio of the gated convolutions.
        norm: Norm of the layers, with its settings.
        act: Key of `layers.ACTIVATIONS`, for the gated convolutions.
        padding: Padding mode of the resampler.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        layers: Layers,
        resample: Upsampler,
        resample_out: Width | None = None,
        head_channels: HeadChannels,
        kernels: Kernels,
        expand: Expand,
        norm: Norm,
        act: Act,
        padding: Padding = "zeros",
    ) -> None:
        def build_layer(channels: int, _: int) -> nn.Module:
            return EfficientViTLayer(channels, head_channels, kernels, expand, norm, act)

        super().__init__(build_layer, in_channels, None, layers, resample, resample_out, padding)
