"""Receptive fields, computed backwards from one position of the output to the input positions it depends on."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import nn

from vaezoo.analysis.meta_kernels import MetaKernels
from vaezoo.errors import SpecError
from vaezoo.nn.attention import Attention
from vaezoo.nn.efficientvit import LinearAttention
from vaezoo.nn.resamplers.downsamplers import Conv3x3Unshuffle
from vaezoo.nn.resamplers.upsamplers import Conv3x3Shuffle, NearestConv3x3
from vaezoo.nn.stack import Stack
from vaezoo.nn.transforms import Haar, InverseHaar
from vaezoo.nn.vae import VAE

GLOBAL = {"attention": (Attention, LinearAttention), "group norm": (nn.GroupNorm,)}


@dataclass(frozen=True)
class AxisMap:
    """How one layer maps the positions along height or width.

    Args:
        scale: Factor by which their number changes.
        back: Maps the first and last of a range of output positions to the first and last input position they depend
            on.
    """

    scale: Fraction
    back: Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True)
class ReceptiveFields:
    """Receptive fields through convolutions, as positions per side of an unbounded image.

    Args:
        latent: Pixels that a latent depends on.
        output: Latents that a decoded pixel depends on, at most.
        through: Input pixels that a pixel of the reconstruction depends on, at most.
        encoder_global: Layers with a global receptive field in the encoder, keys of `GLOBAL`.
        decoder_global: Layers with a global receptive field in the decoder, keys of `GLOBAL`.
    """

    latent: int
    output: int
    through: int
    encoder_global: tuple[str, ...]
    decoder_global: tuple[str, ...]


def receptive_fields(vae: VAE) -> ReceptiveFields:
    """Receptive fields of the convolutions of a network.

    Attention and norms do not count: attention is taken as pointwise, and the statistics of norms as constants.

    Args:
        vae: The network, on any device; on the meta device nothing is computed.

    Raises:
        SpecError: If a block changes height and width by a layer that is not known here.
    """
    pixels, latents = 2 * vae.downscale, 2  # PyTorch's group norm raises on a single position
    with torch.no_grad(), MetaKernels():
        down = _maps_of(vae, vae.encoder, "encoder", (1, vae.spec.image.channels, pixels, pixels))
        up = _maps_of(vae, vae.decoder, "decoder", (1, vae.latent_channels, latents, latents))
    return ReceptiveFields(
        latent=_width(down, 1),
        output=_width(up, vae.downscale),
        through=_width([*down, *up], vae.downscale),
        encoder_global=_global(vae.encoder),
        decoder_global=_global(vae.decoder),
    )


def _width(maps: list[AxisMap], phases: int) -> int:
    """Largest number of input positions that one of the first `phases` output positions depends on."""
    widths = []
    for position in range(phases):
        first = last = position
        for axis_map in reversed(maps):
            first, last = axis_map.back(first, last)
        widths.append(last - first + 1)
    return max(widths)


def _maps_of(vae: VAE, stack: Stack, half: str, shape: tuple[int, ...]) -> list[AxisMap]:
    """The maps of all layers of a half, in the order in which they run."""
    x = torch.empty(shape, device=vae.device, dtype=vae.dtype)
    maps: list[AxisMap] = []
    for index, block in enumerate(stack):
        ran: list[AxisMap] = []
        hooks = [m.register_forward_pre_hook(lambda m, _, ran=ran: ran.extend(_maps(m))) for m in _layers(block)]
        x = block(x)
        for hook in hooks:
            hook.remove()
        if math.prod((axis_map.scale for axis_map in ran), start=Fraction(1)) != block.scale:
            row = getattr(vae.spec, half)[index]
            raise SpecError(
                f"{half}[{index}]: the receptive field of {row.block} is not known to vaezoo.analysis.receptive"
            )
        maps += ran
    return maps


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """A module and its submodules, without attention."""
    if not isinstance(module, GLOBAL["attention"]):
        yield module
        for child in module.children():
            yield from _layers(child)


def _maps(layer: nn.Module) -> list[AxisMap]:
    """The maps of one layer. Those of 1x1 convolutions, which may run in parallel to others, are identities."""
    if isinstance(layer, Haar):
        return [_patches(2**layer.levels)]
    if isinstance(layer, InverseHaar):
        return [_spread(2**layer.levels)]
    if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        return []
    padding = int(layer.padding[0])
    if isinstance(layer, nn.ConvTranspose2d):
        return [_transposed(layer.kernel_size[0], layer.stride[0], padding)]
    conv = _conv(layer.kernel_size[0], layer.stride[0], padding)
    if isinstance(layer, NearestConv3x3):
        return [_spread(2), conv]
    if isinstance(layer, Conv3x3Shuffle):
        return [conv, _spread(2)]
    return [conv, _patches(2)] if isinstance(layer, Conv3x3Unshuffle) else [conv]


def _conv(kernel: int, stride: int, padding: int) -> AxisMap:
    return AxisMap(
        Fraction(1, stride), lambda first, last: (first * stride - padding, last * stride - padding + kernel - 1)
    )


def _transposed(kernel: int, stride: int, padding: int) -> AxisMap:
    return AxisMap(
        Fraction(stride),
        lambda first, last: (-((kernel - 1 - padding - first) // stride), (last + padding) // stride),
    )


def _patches(side: int) -> AxisMap:
    """The map of a layer that turns patches into channels."""
    return AxisMap(Fraction(1, side), lambda first, last: (first * side, last * side + side - 1))


def _spread(side: int) -> AxisMap:
    """The map of a layer that turns each position into a patch."""
    return AxisMap(Fraction(side), lambda first, last: (first // side, last // side))


def _global(stack: Stack) -> tuple[str, ...]:
    return tuple(name for name, kinds in GLOBAL.items() if any(isinstance(m, kinds) for m in stack.modules()))
