"""Initial weights with which a VAE starts as a resampler: its first output is its input, reduced and enlarged again.

Luma and the two color differences of the photo pass through the network as *pairs* of channels, x and -x. The
convolutions outside of residual branches pass pairs on, and resamplers interpolate them; the branches add nothing to
them at first, and all other weights keep their usual initialization. A pair passes an activation unchanged:
silu(x) - silu(-x) = x.

Pairs are needed because of the group norm before each last convolution. It removes mean and scale of the whole image
from every group of channels, and with them color, so that color is among the last things that a VAE learns from random
weights. A pair has no mean to lose, and its scale is kept by something large in its group: two constant channels or, if
the group is too small for them, a checkerboard on top of the pair itself, which the last upsampler adds and the last
convolution filters out.
"""

import torch
from torch import Tensor

from vaezoo.errors import SpecError
from vaezoo.io.pixels import COLORS
from vaezoo.nn.layers import DAMPING, bias_of
from vaezoo.nn.resamplers.upsamplers import ConvTranspose4x4
from vaezoo.nn.vae import VAE
from vaezoo.warmstart.signal_path import CONSTANT, TAPS, Convolution, PairChannels, SignalPath, find_path

GAINS = (2.0, 6.0, 6.0)  # of the latents, so that they have a standard deviation of about 1 on photos
LOGVAR = -5.0  # a posterior standard deviation of 0.08
RMS = 0.5  # of a pair over photos
NYQUIST = (0.25, -0.5, 0.25)  # a filter that passes a checkerboard and removes a constant


def start_as_resampler(vae: VAE) -> None:
    """Initialize the weights of a VAE in place so that it starts as a resampler of RGB images.

    The first latent channels are luma and the two color differences, as far as there are latent channels; the others
    keep their initialization. Rows may be conv, down, mid, up and head, with group norms and with `resample` conv_4x4,
    conv_3x3_asymmetric, conv_transpose_4x4 or nearest_conv_3x3 (the documented VAE and the LDM family).

    Args:
        vae: A VAE with freshly built weights.

    Raises:
        SpecError: If the network has a row that cannot lead pairs.
    """
    encoder, decoder = _find_paths(vae)  # raises before anything is changed
    pairs, colors, gains = len(encoder.inner.pairs), torch.tensor(COLORS), torch.tensor(GAINS)
    with torch.no_grad():
        _start_encoder(encoder, colors[:pairs], gains[:pairs], vae.latent_channels)
        _start_decoder(decoder, torch.linalg.inv(colors * gains[:, None])[:, :pairs])


def check_start(vae: VAE) -> None:
    """Check that `start_as_resampler` supports a network, which may be on the meta device.

    Raises:
        SpecError: If the network has a row that cannot lead pairs.
    """
    _find_paths(vae)


def _find_paths(vae: VAE) -> tuple[SignalPath, SignalPath]:
    """The paths through encoder and decoder, for as many pairs as there are colors and latent channels."""
    if vae.spec.image.channels != 3:
        raise SpecError(f"{vae.spec.label} has images of {vae.spec.image.channels} channels; start: resampler needs 3")
    pairs = min(len(COLORS), vae.latent_channels)
    return find_path(vae, "encoder", pairs), find_path(vae, "decoder", pairs)


def _start_encoder(path: SignalPath, colors: Tensor, gains: Tensor, latent_channels: int) -> None:
    _start_convolutions(path, colors)
    for plus, _ in path.last.pairs:  # the other channels of their groups must not disturb the pairs
        path.convolutions[-1].weight[plus + 4 : plus + path.group_size] *= DAMPING
    _start_head(path, torch.diag(gains))
    logvar = slice(latent_channels, None)  # empty if latents are deterministic
    path.head.weight[logvar] *= DAMPING
    path.head.bias[logvar] = LOGVAR


def _start_decoder(path: SignalPath, to_rgb: Tensor) -> None:
    _start_convolutions(path, to_rgb)
    if path.checkerboard is not None:
        sign = torch.tensor([1.0, -1.0, 1.0, -1.0])
        kernel = CONSTANT * torch.outer(sign, sign) / 4  # four taps contribute to each pixel
        index = max(i for i, conv in enumerate(path.convolutions) if type(conv) is ConvTranspose4x4)
        for plus, minus in (path.inner if index < len(path.convolutions) - 1 else path.last).pairs:
            path.convolutions[index].weight[path.checkerboard, plus] = kernel
            path.convolutions[index].weight[path.checkerboard, minus] = -kernel
    _start_head(path, torch.eye(len(to_rgb)))


def _start_convolutions(path: SignalPath, matrix: Tensor) -> None:
    """Let the first convolution form pairs of its first input channels by `matrix`, and the others pass them on."""
    for index, convolution in enumerate(path.convolutions):
        if index == 0:
            mix = matrix @ torch.eye(matrix.shape[1], convolution.in_channels)
        else:
            mix = _differences(path.inner, convolution.in_channels) / 2
        _start_convolution(convolution, mix, path.last if index == len(path.convolutions) - 1 else path.inner)
    for branch in path.branches:
        reserved = [c for c in {*path.inner.channels, *path.last.channels} if c < len(branch.weight)]
        branch.weight[reserved] = 0
        bias_of(branch)[reserved] = 0


def _start_convolution(convolution: Convolution, mix: Tensor, reserved: PairChannels) -> None:
    """Let a convolution form pairs by `mix`, of shape (pairs, its input channels), and resample them."""
    weight = convolution.weight.transpose(0, 1) if isinstance(convolution, ConvTranspose4x4) else convolution.weight
    kernel, bias = _kernel(convolution), bias_of(convolution)
    for row, (plus, minus) in zip(mix, reserved.pairs, strict=True):
        weight[plus] = row[:, None, None] * kernel
        weight[minus] = -weight[plus]
        bias[[plus, minus]] = 0
    for channel, value in reserved.constants.items():
        weight[channel] = 0
        bias[channel] = value


def _start_head(path: SignalPath, mix: Tensor) -> None:
    """Let the head compute `mix`, of shape (outputs, pairs), of the pairs as they were before its norm."""
    scale = (2 * (CONSTANT**2 + RMS**2) / path.group_size) ** 0.5  # the divisor of the norm
    kernel = _kernel(path.head)
    if path.checkerboard is not None:
        middle = slice(kernel.shape[0] // 2 - 1, kernel.shape[0] // 2 + 2)
        kernel[middle, middle] -= torch.outer(torch.tensor(NYQUIST), torch.tensor(NYQUIST))
    rows = scale * mix @ _differences(path.last, path.head.in_channels)
    path.head.weight[: len(rows)] = rows[:, :, None, None] * kernel
    path.head.bias[: len(rows)] = 0


def _differences(reserved: PairChannels, channels: int) -> Tensor:
    """A matrix of shape (pairs, channels) that computes plus - minus of each pair."""
    matrix = torch.zeros(len(reserved.pairs), channels)
    for row, (plus, minus) in zip(matrix, reserved.pairs, strict=True):
        row[plus], row[minus] = 1, -1
    return matrix


def _kernel(convolution: Convolution) -> Tensor:
    """The kernel (k, k) with which a convolution starts: interpolation, or the identity if it keeps the size."""
    if taps := TAPS.get(type(convolution)):
        return torch.outer(torch.tensor(taps), torch.tensor(taps))
    kernel = torch.zeros(convolution.kernel_size)
    kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] = 1
    return kernel
