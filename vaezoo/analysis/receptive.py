"""Receptive fields, walked backwards: from one position of a result to the positions that its convolutions see."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import nn

from vaezoo.errors import SpecError
from vaezoo.nn.attention import Attention
from vaezoo.nn.downsamplers import Conv3x3Unshuffle
from vaezoo.nn.efficientvit import LinearAttention
from vaezoo.nn.stack import Stack
from vaezoo.nn.transforms import Haar, InverseHaar
from vaezoo.nn.upsamplers import Conv3x3Shuffle, NearestConv3x3
from vaezoo.nn.vae import VAE

GLOBAL = {"attention": (Attention, LinearAttention), "group norm": (nn.GroupNorm,)}


@dataclass(frozen=True)
class Step:
    """What one layer does to positions of an axis.

    Args:
        scale: The factor by which it changes their number.
        back: From the first and last position of its result to those that they see of its input.
    """

    scale: Fraction
    back: Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True)
class ReceptiveFields:
    """Positions per side that one position sees through convolutions, on an image without end.

    Args:
        latent: Pixels that a latent sees.
        output: Latents that a pixel of the decoded image sees, at most.
        through: Pixels of the input that a pixel of the reconstruction sees, at most.
        encoder_global: What makes every latent depend on the whole image all the same, keys of `GLOBAL`.
        decoder_global: What makes every pixel depend on all latents.
    """

    latent: int
    output: int
    through: int
    encoder_global: tuple[str, ...]
    decoder_global: tuple[str, ...]


def receptive_fields(vae: VAE) -> ReceptiveFields:
    """The receptive fields of a network, which may be on the meta device.

    Attention counts as if each position saw itself alone, norms as if their statistics were given.

    Raises:
        SpecError: If a row changes height and width in a way that is not known here.
    """
    pixels, latents = 2 * vae.downscale, 2  # PyTorch's group norm refuses a single position
    with torch.no_grad():
        down = _steps_of(vae, vae.encoder, "encoder", (1, vae.spec.image.channels, pixels, pixels))
        up = _steps_of(vae, vae.decoder, "decoder", (1, vae.latent_channels, latents, latents))
    return ReceptiveFields(
        latent=_width(down, 1),
        output=_width(up, vae.downscale),
        through=_width([*down, *up], vae.downscale),
        encoder_global=_global(vae.encoder),
        decoder_global=_global(vae.decoder),
    )


def _width(steps: list[Step], phases: int) -> int:
    """How many positions the last steps' results see, at most, of the `phases` different ones."""
    widths = []
    for position in range(phases):
        first = last = position
        for step in reversed(steps):
            first, last = step.back(first, last)
        widths.append(last - first + 1)
    return max(widths)


def _steps_of(vae: VAE, stack: Stack, half: str, shape: tuple[int, ...]) -> list[Step]:
    """The steps of a half in the order in which they run."""
    x = torch.empty(shape, device=vae.device, dtype=vae.dtype)
    steps: list[Step] = []
    for index, block in enumerate(stack):
        ran: list[Step] = []
        hooks = [m.register_forward_pre_hook(lambda m, _, ran=ran: ran.extend(_steps(m))) for m in _layers(block)]
        x = block(x)
        for hook in hooks:
            hook.remove()
        if math.prod((step.scale for step in ran), start=Fraction(1)) != block.scale:
            row = getattr(vae.spec, half)[index]
            raise SpecError(
                f"{half}[{index}]: what {row.block} sees of its input is not known to vaezoo.analysis.receptive"
            )
        steps += ran
    return steps


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """A module and all in it, but for attention."""
    if not isinstance(module, GLOBAL["attention"]):
        yield module
        for child in module.children():
            yield from _layers(child)


def _steps(layer: nn.Module) -> list[Step]:
    """What a layer does by itself. 1x1 convolutions, which also stand beside others, do nothing."""
    if isinstance(layer, Haar):
        return [_patches(2**layer.levels)]
    if isinstance(layer, InverseHaar):
        return [_spread(2**layer.levels)]
    if isinstance(layer, nn.ConvTranspose2d):
        return [_transposed(layer.kernel_size[0], layer.stride[0], layer.padding[0])]
    if not isinstance(layer, nn.Conv2d):
        return []
    conv = _conv(layer.kernel_size[0], layer.stride[0], layer.padding[0])
    if isinstance(layer, NearestConv3x3):
        return [_spread(2), conv]
    if isinstance(layer, Conv3x3Shuffle):
        return [conv, _spread(2)]
    return [conv, _patches(2)] if isinstance(layer, Conv3x3Unshuffle) else [conv]


def _conv(kernel: int, stride: int, padding: int) -> Step:
    return Step(
        Fraction(1, stride), lambda first, last: (first * stride - padding, last * stride - padding + kernel - 1)
    )


def _transposed(kernel: int, stride: int, padding: int) -> Step:
    return Step(
        Fraction(stride),
        lambda first, last: (-((kernel - 1 - padding - first) // stride), (last + padding) // stride),
    )


def _patches(side: int) -> Step:
    """Patches become channels."""
    return Step(Fraction(1, side), lambda first, last: (first * side, last * side + side - 1))


def _spread(side: int) -> Step:
    """Each position becomes a patch."""
    return Step(Fraction(side), lambda first, last: (first // side, last // side))


def _global(stack: Stack) -> tuple[str, ...]:
    return tuple(name for name, kinds in GLOBAL.items() if any(isinstance(m, kinds) for m in stack.modules()))
