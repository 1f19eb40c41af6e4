"""Finds the convolutions through which `as_resampler` leads the photo, and the channels that it uses for that."""

from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from vaezoo.errors import SpecError
from vaezoo.nn.attention import Attention
from vaezoo.nn.blocks import DownBlock, MidBlock, UpBlock
from vaezoo.nn.layers import Conv, ResidualLayer
from vaezoo.nn.resamplers.downsamplers import Conv3x3Asymmetric, Conv4x4
from vaezoo.nn.resamplers.upsamplers import ConvTranspose4x4, NearestConv3x3
from vaezoo.nn.single_layers import ConvBlock, Head
from vaezoo.nn.vae import VAE

Convolution = nn.Conv2d | nn.ConvTranspose2d

CONSTANT = 2.0  # value of the constant channels, large beside a pair, whose RMS over photos is about 0.5
TAPS: dict[type[nn.Module], tuple[float, ...]] = {  # of the separable kernel with which a resampler starts
    Conv4x4: (-1 / 16, 9 / 16, 9 / 16, -1 / 16),  # cubic
    Conv3x3Asymmetric: (0.5, 0.5, 0.0),  # the mean of two pixels
    ConvTranspose4x4: (0.2, 0.8, 0.8, 0.2),  # linear, slightly sharpened
    NearestConv3x3: (0.2, 0.6, 0.2),  # the same after nearest-neighbor upsampling
}
LAST_LAYERS = {ResidualLayer: "conv2", Attention: "proj"}  # of residual branches


class PairChannels(NamedTuple):
    """The output channels of a convolution that are reserved.

    Attributes:
        pairs: Channels of x and -x, for each of the pairs.
        constants: Channels that are constant, with their values.
    """

    pairs: list[tuple[int, int]]
    constants: dict[int, float]

    @property
    def channels(self) -> list[int]:
        """All reserved channels."""
        return [*self.constants, *(channel for pair in self.pairs for channel in pair)]


class SignalPath(NamedTuple):
    """The path of the pairs through the encoder or decoder.

    Attributes:
        convolutions: The convolutions outside of residual branches, in order, without that of the head.
        branches: The last layers of the residual branches.
        head: Convolution of the head.
        norm: Norm of the head.
        inner: Reserved channels of all `convolutions` but the last.
        last: Reserved channels of the last of them, where each pair is in another group of `norm`.
        checkerboard: The constant channel of `inner` from which the last upsampler adds a checkerboard to the pairs;
            `None` if the groups of `norm` have room for constants.
    """

    convolutions: list[Convolution]
    branches: list[nn.Conv2d | nn.Linear]
    head: Conv
    norm: nn.GroupNorm
    inner: PairChannels
    last: PairChannels
    checkerboard: int | None

    @property
    def group_size(self) -> int:
        """Channels in a group of `norm`."""
        return self.norm.num_channels // self.norm.num_groups


def find_path(vae: VAE, half: str, pairs: int) -> SignalPath:
    """The path of a number of pairs through the encoder or decoder.

    Raises:
        SpecError: If a row cannot lead pairs, or there are too few channels for them.
    """
    convolutions: list[Convolution] = []
    head: Head | None = None
    rows = getattr(vae, half)
    for index, (spec, row) in enumerate(zip(getattr(vae.spec, half), rows, strict=True)):
        location = f"{spec.location}: {half}[{index}] ({spec.block})"
        if getattr(row, "shortcut", None):
            raise SpecError(f"{location} has a shortcut, which start: resampler does not support")
        if type(row) is Head and head is None:
            if not isinstance(row.norm, nn.GroupNorm):
                raise SpecError(f"{location} has no group norm, which start: resampler requires")
            head = row
        elif isinstance(row, ConvBlock) and row.in_channels == row.out and row.kernel_size == (1, 1):
            continue  # a quant convolution, which starts as the identity
        elif head is not None or not isinstance(row, ConvBlock | DownBlock | MidBlock | UpBlock):
            raise SpecError(f"{location}: start: resampler supports conv, down, mid, up, and one head after them")
        else:
            convolutions.extend(_outside_of_branches(row, location))
    if head is None or not isinstance(head.norm, nn.GroupNorm):
        raise SpecError(f"{vae.spec.label}: the {half} has no head; start: resampler needs one")
    modules = [module for row in rows for module in row.modules()]
    branches = [getattr(module, LAST_LAYERS[type(module)]) for module in modules if type(module) in LAST_LAYERS]
    with_checkerboard = head.norm.num_channels // head.norm.num_groups < 4
    path = SignalPath(
        convolutions,
        branches,
        head.conv,
        head.norm,
        _inner_channels(pairs, with_checkerboard),
        _last_channels(pairs, head.norm.num_channels // head.norm.num_groups, with_checkerboard),
        2 * pairs if with_checkerboard else None,
    )
    _check_room(vae, half, path)
    return path


def _outside_of_branches(row: nn.Module, location: str) -> Iterator[Convolution]:
    """The convolutions of a row that are not in a residual branch."""
    if isinstance(row, ConvBlock):
        yield row
        return
    for child in row.children():
        for layer in child if isinstance(child, nn.ModuleList) else [child]:
            if isinstance(layer, ResidualLayer):
                layer = layer.skip
            elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and type(layer) not in TAPS:
                raise SpecError(f"{location}: start: resampler does not support the resampler {type(layer).__name__}")
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                yield layer


def _inner_channels(pairs: int, with_checkerboard: bool) -> PairChannels:
    return PairChannels([(2 * i, 2 * i + 1) for i in range(pairs)], {2 * pairs: 1.0} if with_checkerboard else {})


def _last_channels(pairs: int, group: int, with_checkerboard: bool) -> PairChannels:
    """The first channels of one group of the norm for each pair: x, -x and, if they fit, two constants."""
    channels = [(group * i, group * i + 1) for i in range(pairs)]
    constants = {plus + 2 + i: value for plus, _ in channels for i, value in enumerate((CONSTANT, -CONSTANT))}
    return PairChannels(channels, {} if with_checkerboard else constants)


def _check_room(vae: VAE, half: str, path: SignalPath) -> None:
    """Raise `SpecError` if groups are too small, or a convolution has too few channels."""
    upsampled = ConvTranspose4x4 in map(type, path.convolutions) and path.head.kernel_size[0] >= 3
    if path.group_size == 1 or (path.checkerboard is not None and not upsampled):
        raise SpecError(
            f"{vae.spec.label}: the norm of the {half}'s head has groups of {path.group_size} channels; "
            "start: resampler needs 4 (or 2, after a conv_transpose_4x4 and before a kernel of 3): give the head "
            "fewer groups"
        )
    for convolution in path.convolutions:
        reserved = path.last if convolution is path.convolutions[-1] else path.inner
        needed = max(reserved.channels) + 1
        if convolution.out_channels < needed:
            text = f"{convolution.out_channels} channels; start: resampler needs {needed} for its pairs"
            raise SpecError(f"{vae.spec.label}: a row of the {half} has {text}")
