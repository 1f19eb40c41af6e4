"""The table of blocks, `BLOCKS`, and the residual blocks of the LDM family.

The keyword-only arguments of a block are the keys of its rows in a spec. To add a block, add a class and its entry.
"""

from torch import Tensor, nn

from vaezoo.nn.attention import build_attention
from vaezoo.nn.base import Block
from vaezoo.nn.dcae_blocks import DCDown, DCUp, ViTDown, ViTUp
from vaezoo.nn.layers import Act, Channels, Heads, Layers, Padding, ResidualLayer, Skip, Width
from vaezoo.nn.norms import Norm
from vaezoo.nn.resamplers.downsamplers import DOWNSAMPLERS, Downsampler
from vaezoo.nn.resamplers.resample import build_resampler
from vaezoo.nn.resamplers.upsamplers import UPSAMPLERS, Upsampler
from vaezoo.nn.single_layers import ConvAct, ConvBlock, Downsample, Head, NormAct, Upsample
from vaezoo.nn.taesd_blocks import TinyDown, TinyUp
from vaezoo.nn.transforms import Clamp, Haar, InverseHaar, Rescale


class DownBlock(Block):
    """Residual layers, each followed by attention if `heads` is not 0, then the resampler.

    (B, in_channels, H, W) -> (B, resample_out or out, H * scale, W * scale); H and W must be multiples of 1 / `scale`.

    Args:
        in_channels: Number of input channels.
        out: Number of channels after the first residual layer.
        layers: Number of residual layers.
        resample: Key of `downsamplers.DOWNSAMPLERS`; null for no resampling.
        resample_out: Number of channels after the resampler; null keeps `out`.
        heads: Heads of the attention after each residual layer; 0 for no attention.
        norm: Norm of all layers, with its settings.
        act: Key of `layers.ACTIVATIONS`.
        skip: Key of `layers.SKIPS`.
        padding: Padding mode of the 3x3 and larger convolutions.

    Raises:
        ValueError: If `heads` does not divide `out`, or the norm does not fit a number of channels.

    Source: the documented VAE (`docs/design.md`); Rombach et al. 2022 (arXiv:2112.10752), encoder level.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        out: Channels,
        layers: Layers,
        resample: Downsampler,
        resample_out: Width | None = None,
        heads: Heads = 0,
        norm: Norm,
        act: Act,
        skip: Skip,
        padding: Padding = "zeros",
    ) -> None:
        super().__init__()
        self.out = resample_out or out
        self.layers = _residual_layers(in_channels, out, layers, norm, act, skip, padding)
        self.attentions = nn.ModuleList(build_attention(out, heads=heads, norm=norm) for _ in range(layers))
        self.resample = build_resampler(DOWNSAMPLERS, resample, out, resample_out, padding)
        self.scale = self.resample.scale

    def forward(self, x: Tensor) -> Tensor:
        for layer, attend in zip(self.layers, self.attentions, strict=True):
            x = attend(layer(x))
        return self.resample(x)


class MidBlock(Block):
    """One residual layer, then `layers` times (attention, residual layer): (B, in_channels, H, W) -> (B, out, H, W).

    Args:
        in_channels: Number of input channels.
        out: Number of channels after the first residual layer.
        layers: Number of (attention, residual layer) pairs.
        heads: Heads of the attention; 0 for no attention.
        norm: Norm of all layers, with its settings.
        act: Key of `layers.ACTIVATIONS`.
        skip: Key of `layers.SKIPS`.
        padding: Padding mode of the 3x3 convolutions.

    Raises:
        ValueError: If `heads` does not divide `out`, or the norm does not fit a number of channels.

    Source: the documented VAE (`docs/design.md`); the LDM mid block is `layers: 1, heads: 1`.
    """

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
        self.out = out
        self.layers = _residual_layers(in_channels, out, layers + 1, norm, act, skip, padding)
        self.attentions = nn.ModuleList(build_attention(out, heads=heads, norm=norm) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.layers
        x = first(x)
        for attend, layer in zip(self.attentions, others, strict=True):
            x = layer(attend(x))
        return x


class UpBlock(Block):
    """The resampler, then residual layers, each followed by attention if `heads` is not 0.

    (B, in_channels, H, W) -> (B, out, H * scale, W * scale).

    Args:
        in_channels: Number of input channels.
        out: Number of channels after the first residual layer.
        layers: Number of residual layers.
        resample: Key of `upsamplers.UPSAMPLERS`; null for no resampling.
        resample_out: Number of channels after the resampler; null keeps `in_channels`.
        heads: Heads of the attention after each residual layer; 0 for no attention.
        norm: Norm of all layers, with its settings.
        act: Key of `layers.ACTIVATIONS`.
        skip: Key of `layers.SKIPS`.
        padding: Padding mode of the 3x3 convolutions.

    Raises:
        ValueError: If `heads` does not divide `out`, or the norm does not fit a number of channels.

    Source: the documented VAE (`docs/design.md`); the upsampler of an LDM level is the resampler of the next block.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        out: Channels,
        layers: Layers,
        resample: Upsampler,
        resample_out: Width | None = None,
        heads: Heads = 0,
        norm: Norm,
        act: Act,
        skip: Skip,
        padding: Padding = "zeros",
    ) -> None:
        super().__init__()
        self.out = out
        self.resample = build_resampler(UPSAMPLERS, resample, in_channels, resample_out, padding)
        self.scale = self.resample.scale
        self.layers = _residual_layers(resample_out or in_channels, out, layers, norm, act, skip, padding)
        self.attentions = nn.ModuleList(build_attention(out, heads=heads, norm=norm) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        x = self.resample(x)
        for layer, attend in zip(self.layers, self.attentions, strict=True):
            x = attend(layer(x))
        return x


def _residual_layers(
    in_channels: int, out: int, layers: int, norm: Norm, act: Act, skip: Skip, padding: Padding
) -> nn.ModuleList:
    """Residual layers, of which the first changes the number of channels."""
    return nn.ModuleList(
        ResidualLayer(out if i else in_channels, out, norm=norm, act=act, skip=skip, padding=padding)
        for i in range(layers)
    )


BLOCKS: dict[str, type[Block]] = {
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
