"""Transfers the weights of a network to one whose widths are larger by an integer factor, as the same function.

Every channel is copied, and the weights that read it are split among the copies, unevenly and at random, so that
training can tell the copies apart. Groups of norms and heads of attention grow by the same factor, so that each has the
same input as before.

Source: Chen, Goodfellow and Shlens 2016, "Net2Net: Accelerating Learning via Knowledge Transfer" (arXiv:1511.05641).
"""

from fractions import Fraction

import torch
from torch import Tensor, nn

from vaezoo.errors import SpecError
from vaezoo.nn.build import build
from vaezoo.nn.unwrap import unwrapped
from vaezoo.nn.vae import VAE
from vaezoo.specs.model import HALVES, BlockSpec, ModelSpec

WIDTHS = ("out", "resample_out", "groups", "heads")  # the arguments that grow
ROUNDING = 1e-2  # largest allowed difference of the results, relative to the largest value


def grow(vae: VAE, spec: ModelSpec) -> VAE:
    """Build a wider network that computes the same function as `vae`, up to rounding.

    Weights are split among copies at random, with PyTorch's default generator.

    Args:
        vae: The narrow network, with its weights.
        spec: The wide network: the same rows, with `out`, `resample_out`, `groups` and `heads` larger by one integer
            factor.

    Returns:
        A new network on the device, and of the dtype and mode, of `vae`, with its latent statistics.

    Raises:
        SpecError: If `spec` is not such a network, or has a row whose function cannot be kept.
    """
    vae = unwrapped(vae)
    _check_factor(vae.spec, spec)
    wide = build(spec, vae.device).to(vae.dtype)
    with torch.no_grad():
        for (name, small), large in zip(vae.named_modules(), wide.modules(), strict=True):
            _grow_module(name, small, large)
        _check_same(vae, wide)
    wide.latent_stats = vae.latent_stats
    return wide.train(vae.training)


def _check_same(vae: VAE, wide: VAE) -> None:
    """Raise `SpecError` if the networks compute different functions, which happens if a row mixes channels by index."""
    side = 2 * vae.size_multiple
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1, vae.spec.image.channels, side, side, generator=generator).to(vae.device, vae.dtype) * 2 - 1
    was = vae.training
    before, after = vae.eval()(images, sample=False), wide.eval()(images, sample=False)
    vae.train(was)
    for what in ("latents", "reconstruction"):
        old, new = getattr(before, what), getattr(after, what)
        if (new - old).abs().max() > ROUNDING * old.abs().max():
            raise SpecError(
                f"{wide.spec.label}: its {what} differ from those of {vae.spec.label}, because a row mixes channels by "
                "their index, as shortcuts do that average neighbors; leave grow out"
            )


def _grow_module(name: str, small: nn.Module, large: nn.Module) -> None:
    """Fill the tensors of a module without those of its submodules."""
    if isinstance(small, nn.Conv2d | nn.ConvTranspose2d) and small.groups != 1:
        raise SpecError(f"{name}: a grouped convolution cannot be grown")
    writes, reads = (1, 0) if isinstance(small, nn.ConvTranspose2d) else (0, 1)
    parts = 3 if name.endswith(".qkv") else 1  # queries, keys and values are one matrix
    for key, tensor in [*small.named_parameters(recurse=False), *small.named_buffers(recurse=False)]:
        target = getattr(large, key)
        if tensor.ndim == 1:  # biases and norms
            target.copy_(_copied(tensor, len(target) // len(tensor), 0, parts))
            continue
        grown = _copied(tensor, target.shape[writes] // tensor.shape[writes], writes, parts)
        target.copy_(_split(grown, target.shape[reads] // tensor.shape[reads], reads))


def _copied(tensor: Tensor, copies: int, dim: int, parts: int) -> Tensor:
    """Repeat each of the `parts` of a dimension `copies` times."""
    return torch.cat([tensor.unflatten(dim, (parts, -1))] * copies, dim=dim + 1).flatten(dim, dim + 1)


def _split(weights: Tensor, copies: int, dim: int) -> Tensor:
    """Split weights among `copies` of their inputs: random shares that add up to the weights."""
    if copies == 1:
        return weights
    share = weights / copies
    noise = [torch.randn_like(share) * share.square().mean().sqrt() for _ in range(copies)]
    mean = sum(noise) / copies
    return torch.cat([share + one - mean for one in noise], dim)


def _check_factor(small: ModelSpec, large: ModelSpec) -> None:
    """Raise `SpecError` unless all widths of the rows grow by one integer factor."""
    text = f"{large.label} is not {small.label} with every width, groups and heads larger by one factor"
    if (small.image, small.latent) != (large.image, large.latent):
        raise SpecError(f"{text}: image or latent differ")
    factors = set()
    for half in HALVES:
        rows, wide = getattr(small, half), getattr(large, half)
        if len(rows) != len(wide):
            raise SpecError(f"{text}: the {half} has {len(wide)} rows, not {len(rows)}")
        for index, (row, other) in enumerate(zip(rows, wide, strict=True)):
            factors |= _factors(row, other, f"{text}: {half}[{index}]")
    if len(factors) != 1 or max(factors).denominator != 1:
        raise SpecError(f"{text}: they grow by {', '.join(map(str, sorted(factors))) or 'nothing'}")


def _factors(row: BlockSpec, other: BlockSpec, text: str) -> set[Fraction]:
    """The factors by which the widths of a row grow.

    Raises:
        SpecError: If anything else differs.
    """
    if row.block != other.block or row.arguments.keys() != other.arguments.keys():
        raise SpecError(f"{text} is another row")
    factors = set()
    for key, value in row.arguments.items():
        now = other.arguments[key]
        if key in WIDTHS and isinstance(value, int) and isinstance(now, int) and value:
            factors.add(Fraction(now, value))
        elif value != now:
            raise SpecError(f"{text}.{key} is {now}, not {value}")
    return factors
