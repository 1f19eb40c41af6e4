"""The blocks that rows of a spec name. A block's keyword-only arguments are the keys of its rows.

Every block has `out`, the channels it hands on, and `scale`, the factor by which it changes height and width.
"""

from fractions import Fraction
from functools import partial
from typing import Annotated

from torch import Tensor, nn

from vaezoo.nn.attention import attention
from vaezoo.nn.dcae_blocks import DCDown, DCUp, ViTDown, ViTUp
from vaezoo.nn.layers import Act, Channels, Heads, Layers, Padding, ResidualLayer, Skip, Width
from vaezoo.nn.norms import Norm
from vaezoo.nn.resample import DOWNSAMPLERS, UPSAMPLERS, resampler
from vaezoo.nn.single_layers import ConvAct, ConvBlock, Downsample, Head, NormAct, Upsample
from vaezoo.nn.taesd_blocks import TinyDown, TinyUp
from vaezoo.nn.transforms import Clamp, Haar, InverseHaar, Rescale


class DownBlock(nn.Module):
    """Residual layers, each followed by attention where `heads` asks for it, then the resampler.

    (B, in_channels, H, W) -> (B, resample_out or out, H * scale, W * scale); H and W must be multiples of 1 / `scale`.

    Args:
        in_channels: Channels leaving the previous row.
        out: Channels after the first residual layer.
        layers: Number of residual layers.
        resample: A key of `resample.DOWNSAMPLERS`, or null.
        resample_out: Channels after the resampler; null keeps `out`.
        heads: Heads of the attention after every residual layer; 0 is no attention.
        norm: The norm and its settings.
        act: A key of `layers.ACTIVATIONS`.
        skip: A key of `layers.SKIPS`.
        padding: What the padded convolutions see beyond the edge.

    Raises:
        ValueError: If `groups` or `heads` does not divide a width.

    Source: the documented VAE (`docs/design.md`); Rombach et al. 2022 (arXiv:2112.10752), encoder level.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        out: Channels,
        layers: Layers,
        resample: Annotated[str | None, DOWNSAMPLERS],
        resample_out: Width | None = None,
        heads: Heads = 0,
        norm: Norm,
        act: Act,
        skip: Skip,
        padding: Padding = "zeros",
    ) -> None:
        super().__init__()
        residual = partial(ResidualLayer, norm=norm, act=act, skip=skip, padding=padding)
        attend = partial(attention, out, heads=heads, norm=norm)
        self.out = resample_out or out
        self.layers = nn.ModuleList(residual(out if i else in_channels, out) for i in range(layers))
        self.attentions = nn.ModuleList(attend() for _ in range(layers))
        self.resample = resampler(DOWNSAMPLERS, resample, out, resample_out, padding)
        self.scale = self.resample.scale

    def forward(self, x: Tensor) -> Tensor:
        for layer, attend in zip(self.layers, self.attentions, strict=True):
            x = attend(layer(x))
        return self.resample(x)


class MidBlock(nn.Module):
    """One residual layer, then `layers` times (attention, residual layer): (B, in_channels, H, W) -> (B, out, H, W).

    Args:
        in_channels: Channels leaving the previous row.
        out: Channels after the first residual layer.
        layers: Number of (attention, residual layer) pairs.
        heads: Attention heads; 0 keeps the residual layers and drops attention.
        norm: The norm and its settings.
        act: A key of `layers.ACTIVATIONS`.
        skip: A key of `layers.SKIPS`.
        padding: What the padded convolutions see beyond the edge.

    Raises:
        ValueError: If `groups` or `heads` does not divide a width.

    Source: the documented VAE (`docs/design.md`); the LDM mid block is `layers: 1, heads: 1`.
    """

    scale = Fraction(1)

    def __init__(
        self,
        in_channels: int,
        *,
        out: Channels,
        layers: Layers,
        heads: Heads,
        norm: Norm,
        act: Act,
        skip: Skip,
        padding: Padding = "zeros",
    ) -> None:
        super().__init__()
        residual = partial(ResidualLayer, norm=norm, act=act, skip=skip, padding=padding)
        attend = partial(attention, out, heads=heads, norm=norm)
        self.out = out
        self.layers = nn.ModuleList(residual(out if i else in_channels, out) for i in range(layers + 1))
        self.attentions = nn.ModuleList(attend() for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.layers
        x = first(x)
        for attend, layer in zip(self.attentions, others, strict=True):
            x = layer(attend(x))
        return x


class UpBlock(nn.Module):
    """The resampler, then residual layers, each followed by attention where `heads` asks for it.

    (B, in_channels, H, W) -> (B, out, H * scale, W * scale).

    Args:
        in_channels: Channels leaving the previous row.
        out: Channels after the first residual layer.
        layers: Number of residual layers.
        resample: A key of `resample.UPSAMPLERS`, or null.
        resample_out: Channels after the resampler; null keeps `in_channels`.
        heads: Heads of the attention after every residual layer; 0 is no attention.
        norm: The norm and its settings.
        act: A key of `layers.ACTIVATIONS`.
        skip: A key of `layers.SKIPS`.
        padding: What the padded convolutions see beyond the edge.

    Raises:
        ValueError: If `groups` or `heads` does not divide a width.

    Source: the documented VAE (`docs/design.md`); an LDM level's upsampler is the next row's resampler.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        out: Channels,
        layers: Layers,
        resample: Annotated[str | None, UPSAMPLERS],
        resample_out: Width | None = None,
        heads: Heads = 0,
        norm: Norm,
        act: Act,
        skip: Skip,
        padding: Padding = "zeros",
    ) -> None:
        super().__init__()
        residual = partial(ResidualLayer, norm=norm, act=act, skip=skip, padding=padding)
        attend = partial(attention, out, heads=heads, norm=norm)
        self.out = out
        self.resample = resampler(UPSAMPLERS, resample, in_channels, resample_out, padding)
        self.scale = self.resample.scale
        first = resample_out or in_channels
        self.layers = nn.ModuleList(residual(out if i else first, out) for i in range(layers))
        self.attentions = nn.ModuleList(attend() for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        x = self.resample(x)
        for layer, attend in zip(self.layers, self.attentions, strict=True):
            x = attend(layer(x))
        return x


BLOCKS: dict[str, type[nn.Module]] = {
    "conv": ConvBlock,
    "conv_act": ConvAct,
    "head": Head,
    "norm_act": NormAct,
    "down": DownBlock,
    "mid": MidBlock,
    "up": UpBlock,
    "tiny_down": TinyDown,
    "tiny_up": TinyUp,
    "dc_down": DCDown,
    "dc_up": DCUp,
    "vit_down": ViTDown,
    "vit_up": ViTUp,
    "downsample": Downsample,
    "upsample": Upsample,
    "haar": Haar,
    "inverse_haar": InverseHaar,
    "rescale": Rescale,
    "clamp": Clamp,
}
