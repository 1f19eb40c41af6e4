"""Fresh weights with which a VAE begins as a resampler: its first output is its input, reduced and enlarged again.

Lightness and the two colour differences of the photo pass through the network as *pairs* of channels, x and -x. The
convolutions around the residual branches hand pairs on, resamplers as interpolation; the branches add nothing to them
at first, and all else begins as it does elsewhere. A pair passes an activation unharmed: silu(x) - silu(-x) = x.

The group norm in front of each last convolution is why this must be done with care. It takes mean and scale of a whole
image out of every group of channels, and colour with them, so that from random weights the colour of a photo is among
the last things that a VAE learns. A pair has no mean to lose, and its scale is kept by something large that shares its
group: two constant channels, or, where a group is too small for them, a chequerboard upon the pair itself, which the
last upsampler draws and the last convolution filters out.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vaezoo.errors import SpecError
from vaezoo.nn.attention import Attention
from vaezoo.nn.blocks import DownBlock, MidBlock, UpBlock
from vaezoo.nn.downsamplers import Conv3x3Asymmetric, Conv4x4
from vaezoo.nn.layers import DAMPING, ResidualLayer
from vaezoo.nn.single_layers import ConvBlock, Head
from vaezoo.nn.upsamplers import ConvTranspose4x4, NearestConv3x3
from vaezoo.nn.vae import VAE

Convolution = nn.Conv2d | nn.ConvTranspose2d

# RGB -> lightness and colour differences (ITU-R BT.601, full range)
COLORS = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
GAINS = (2.0, 6.0, 6.0)  # of the latents, which so get a standard deviation of about 1 from photos
LOGVAR = -5.0  # posterior std 0.08, beside that 1
CONSTANT = 2.0  # of constant channels and chequerboard: large beside a pair, whose RMS over photos is about 0.5
RMS = 0.5
TAPS = {  # of one axis
    Conv4x4: (-1 / 16, 9 / 16, 9 / 16, -1 / 16),  # cubic
    Conv3x3Asymmetric: (0.5, 0.5, 0.0),  # the mean of two pixels
    ConvTranspose4x4: (0.2, 0.8, 0.8, 0.2),  # linear, a little sharper
    NearestConv3x3: (0.2, 0.6, 0.2),  # the same after the repeated pixels
}
LAST_LAYERS = {ResidualLayer: "conv2", Attention: "proj"}  # of residual branches
NYQUIST = (0.25, -0.5, 0.25)  # what a chequerboard passes and a constant does not


class Lanes(NamedTuple):
    """Where a convolution puts pairs: the channels of x and -x, and those of a constant with its value."""

    pairs: list[tuple[int, int]]
    constants: dict[int, float]

    @property
    def channels(self) -> list[int]:
        """All of them."""
        return [*self.constants, *(channel for pair in self.pairs for channel in pair)]


class Way(NamedTuple):
    """The way of pairs through a half: the convolutions around its residual branches, in order, and its head.

    `branches` are the last layers of the residual branches. Pairs lie on `lanes` until the last convolution puts them
    on the `last` ones, where each has a group of the head's norm for itself; `board` is the constant from which the
    last upsampler draws a chequerboard upon them, or None.
    """

    path: list[Convolution]
    branches: list[nn.Module]
    head: Head
    lanes: Lanes
    last: Lanes
    board: int | None


def start_as_resampler(vae: VAE) -> None:
    """Set the weights of a VAE, in place, so that it begins as a resampler of RGB images.

    The first latents are lightness and the two colour differences, as many of them as there are latents; the others
    begin as PyTorch begins them. Rows may be conv, down, mid, up and head with group norms and `resample` conv_4x4,
    conv_3x3_asymmetric, conv_transpose_4x4 or nearest_conv_3x3: the documented kind and the LDM kind.

    Args:
        vae: With freshly built weights.

    Raises:
        SpecError: If there is a row through which pairs cannot be led.
    """
    encoder, decoder = _ways(vae)  # all errors before the first change
    kinds, colors, gains = len(encoder.lanes.pairs), torch.tensor(COLORS), torch.tensor(GAINS)
    with torch.no_grad():
        _start_encoder(encoder, colors[:kinds], gains[:kinds], vae.latent_channels)
        _start_decoder(decoder, torch.linalg.inv(colors * gains[:, None])[:, :kinds])


def check_start(vae: VAE) -> None:
    """Raise what `start_as_resampler` would raise, and change nothing; the network may be on the meta device."""
    _ways(vae)


def _ways(vae: VAE) -> tuple[Way, Way]:
    """Those of encoder and decoder, of as many pairs as there are colours and latents for them."""
    if vae.spec.image.channels != 3:
        raise SpecError(f"{vae.spec.label} has images of {vae.spec.image.channels} channels; start: resampler needs 3")
    kinds = min(len(COLORS), vae.latent_channels)
    return _way(vae, "encoder", kinds), _way(vae, "decoder", kinds)


def _start_encoder(way: Way, colors: Tensor, gains: Tensor, latent_channels: int) -> None:
    _lead_all(way, colors)
    head, group = way.head, way.head.norm.num_channels // way.head.norm.num_groups
    for plus, _ in way.last.pairs:  # the rest of their groups must not disturb the pairs
        way.path[-1].weight[plus + 4 : plus + group] *= DAMPING
    _read(way, torch.diag(gains))
    logvar = slice(latent_channels, None)  # nothing, where latents are deterministic
    head.conv.weight[logvar] *= DAMPING
    head.conv.bias[logvar] = LOGVAR


def _start_decoder(way: Way, to_rgb: Tensor) -> None:
    _lead_all(way, to_rgb)
    if way.board is not None:
        sign = torch.tensor([1.0, -1.0, 1.0, -1.0])
        board = CONSTANT * torch.outer(sign, sign) / 4  # four taps meet in every pixel
        index = max(i for i, convolution in enumerate(way.path) if type(convolution) is ConvTranspose4x4)
        for plus, minus in (way.lanes if index < len(way.path) - 1 else way.last).pairs:
            way.path[index].weight[way.board, plus] = board
            way.path[index].weight[way.board, minus] = -board
    _read(way, torch.eye(len(to_rgb)))


def _lead_all(way: Way, matrix: Tensor) -> None:
    """Let the first convolution make pairs of its first channels by a `matrix`, and the others hand them on."""
    for index, convolution in enumerate(way.path):
        if index == 0:
            mix = matrix @ torch.eye(matrix.shape[1], convolution.in_channels)
        else:
            mix = _differences(way.lanes, convolution.in_channels) / 2
        _lead(convolution, mix, way.last if index == len(way.path) - 1 else way.lanes)
    for branch in way.branches:
        reserved = [c for c in {*way.lanes.channels, *way.last.channels} if c < len(branch.weight)]
        branch.weight[reserved] = 0
        branch.bias[reserved] = 0


def _lead(convolution: Convolution, mix: Tensor, lanes: Lanes) -> None:
    """Let a convolution make pairs: `mix` of shape (pairs, its input channels), resampled by its taps."""
    weight = convolution.weight.transpose(0, 1) if isinstance(convolution, ConvTranspose4x4) else convolution.weight
    kernel = _kernel(convolution)
    for row, (plus, minus) in zip(mix, lanes.pairs, strict=True):
        weight[plus] = row[:, None, None] * kernel
        weight[minus] = -weight[plus]
        convolution.bias[[plus, minus]] = 0
    for channel, value in lanes.constants.items():
        weight[channel] = 0
        convolution.bias[channel] = value


def _read(way: Way, mix: Tensor) -> None:
    """Let the head make `mix` of shape (outputs, pairs) of the pairs, as they were before its norm."""
    head, group = way.head, way.head.norm.num_channels // way.head.norm.num_groups
    scale = (2 * (CONSTANT**2 + RMS**2) / group) ** 0.5  # what the norm divides by
    kernel = _kernel(head.conv)
    if way.board is not None:
        middle = slice(kernel.shape[0] // 2 - 1, kernel.shape[0] // 2 + 2)
        kernel[middle, middle] -= torch.outer(torch.tensor(NYQUIST), torch.tensor(NYQUIST))
    rows = scale * mix @ _differences(way.last, head.conv.in_channels)
    head.conv.weight[: len(rows)] = rows[:, :, None, None] * kernel
    head.conv.bias[: len(rows)] = 0


def _differences(lanes: Lanes, channels: int) -> Tensor:
    """A matrix (pairs, channels) that makes plus - minus of each pair."""
    matrix = torch.zeros(len(lanes.pairs), channels)
    for row, (plus, minus) in zip(matrix, lanes.pairs, strict=True):
        row[plus], row[minus] = 1, -1
    return matrix


def _kernel(convolution: Convolution) -> Tensor:
    """How a convolution resamples, (k, k); one that keeps the size hands on the middle."""
    if taps := TAPS.get(type(convolution)):
        return torch.outer(torch.tensor(taps), torch.tensor(taps))
    kernel = torch.zeros(convolution.kernel_size)
    kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] = 1
    return kernel


def _way(vae: VAE, half: str, kinds: int) -> Way:
    """The way of so many pairs through the encoder or the decoder."""
    path: list[Convolution] = []
    head, rows = None, getattr(vae, half)
    for index, (spec, row) in enumerate(zip(getattr(vae.spec, half), rows, strict=True)):
        place = f"{spec.location}: {half}[{index}] ({spec.block})"
        if getattr(row, "shortcut", None):
            raise SpecError(f"{place} has a shortcut; start: resampler leads nothing around it")
        if type(row) is Head and head is None:
            if not isinstance(row.norm, nn.GroupNorm):
                raise SpecError(f"{place} has no group norm, which start: resampler is made for")
            head = row
        elif isinstance(row, ConvBlock) and row.in_channels == row.out and row.kernel_size == (1, 1):
            continue  # a quant convolution, which begins as the identity
        elif head is not None or not isinstance(row, ConvBlock | DownBlock | MidBlock | UpBlock):
            raise SpecError(f"{place}: start: resampler knows conv, down, mid, up, and head as the last of them")
        else:
            path.extend(_around(row, place))
    if head is None:
        raise SpecError(f"{vae.spec.label}: the {half} has no head; start: resampler needs one")
    modules = [module for row in rows for module in row.modules()]
    branches = [getattr(module, LAST_LAYERS[type(module)]) for module in modules if type(module) in LAST_LAYERS]
    return Way(path, branches, head, *_lanes(vae, half, path, head, kinds))


def _around(row: nn.Module, place: str) -> Iterator[Convolution]:
    """The convolutions of a row that are not in a residual branch."""
    if isinstance(row, ConvBlock):
        yield row
        return
    for part in row.children():
        layers = part if isinstance(part, nn.ModuleList) else [part]
        for layer in layers:
            if isinstance(layer, ResidualLayer):
                layer = layer.skip
            elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and type(layer) not in TAPS:
                raise SpecError(f"{place}: start: resampler does not know the resampler {type(layer).__name__}")
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                yield layer


def _lanes(vae: VAE, half: str, path: list[Convolution], head: Head, kinds: int) -> tuple[Lanes, Lanes, int | None]:
    """Lanes, last lanes and board of a `Way`: constants if the groups have room for them, else a chequerboard."""
    group = head.norm.num_channels // head.norm.num_groups
    board = 2 * kinds if group < 4 else None
    lanes = Lanes([(2 * i, 2 * i + 1) for i in range(kinds)], {} if board is None else {board: 1.0})
    pairs = [(group * i, group * i + 1) for i in range(kinds)]
    constants = {plus + 2 + i: value for plus, _ in pairs for i, value in enumerate((CONSTANT, -CONSTANT))}
    last = Lanes(pairs, constants if board is None else {})
    drawn = ConvTranspose4x4 in map(type, path) and head.conv.kernel_size[0] >= 3
    if group == 1 or (board is not None and not drawn):
        raise SpecError(
            f"{vae.spec.label}: the norm of the {half}'s head has groups of {group} channels; start: resampler needs 4"
            " (or 2, after a conv_transpose_4x4 and in front of a kernel of 3): give the head fewer groups"
        )
    for convolution in path:
        widest = max((last if convolution is path[-1] else lanes).channels) + 1
        if convolution.out_channels < widest:
            text = f"{convolution.out_channels} channels; start: resampler needs {widest} for its pairs"
            raise SpecError(f"{vae.spec.label}: a row of the {half} has {text}")
    return lanes, last, board
