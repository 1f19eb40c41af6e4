"""Shapes, parameters and multiply-accumulates (MACs) of a network, counted on the meta device."""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from vaezoo.analysis.meta_kernels import MetaKernels
from vaezoo.analysis.operations import CountedOperations
from vaezoo.nn.attention import Attention
from vaezoo.nn.build import build
from vaezoo.nn.efficientvit import LinearAttention
from vaezoo.nn.own_blocks import caches_by_spec
from vaezoo.nn.stack import Stack, count_params
from vaezoo.nn.vae import VAE
from vaezoo.specs.model import HALVES, ModelSpec


@dataclass(frozen=True)
class RowCost:
    """Costs of one block.

    Attributes:
        half: `"encoder"` or `"decoder"`.
        index: Index of the row in its half.
        block: Key of `BLOCKS`.
        arguments: Arguments of the row.
        shape: Shape (channels, height, width) of the output.
        params: Number of parameters.
        gmacs: 10^9 multiply-accumulates for one image.
        attention_gmacs: The part of `gmacs` that attention layers take, with their projections.
    """

    half: str
    index: int
    block: str
    arguments: dict[str, Any]
    shape: tuple[int, int, int]
    params: int
    gmacs: float
    attention_gmacs: float


@dataclass(frozen=True)
class Costs:
    """Costs of a network at one resolution; GMACs are 10^9 multiply-accumulates for one image, with attention."""

    height: int
    width: int
    rows: tuple[RowCost, ...]

    def params(self, half: str | None = None) -> int:
        """Number of parameters of a half, `"encoder"` or `"decoder"`; `None` means both."""
        return sum(row.params for row in self.rows if half in (None, row.half))

    def gmacs(self, half: str | None = None) -> float:
        """GMACs of a half, `"encoder"` or `"decoder"`; `None` means both."""
        return sum(row.gmacs for row in self.rows if half in (None, row.half))

    @property
    def attention_share(self) -> float:
        """Fraction of all GMACs that attention layers take, in [0, 1]."""
        return sum(row.attention_gmacs for row in self.rows) / self.gmacs()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with the totals of each half."""
        halves = {h: {"params": self.params(h), "gmacs": round(self.gmacs(h), 6)} for h in HALVES}
        return {"height": self.height, "width": self.width, **halves, "rows": [asdict(row) for row in self.rows]}


def costs(spec: ModelSpec, height: int = 256, width: int | None = None) -> Costs:
    """Count the costs of every block for one image.

    Args:
        spec: The network.
        height: Height of the image in pixels.
        width: Width of the image in pixels; `None` means `height`.

    Raises:
        InputError: If a side is not a positive multiple of the `size_multiple` of the network.

    Examples:
        >>> import vaezoo
        >>> from vaezoo.analysis.costs import costs
        >>> costs(vaezoo.get_spec("vae_f8_z4_micro"), 64).rows[0].shape
        (16, 64, 64)
    """
    return _costs(spec, height, height if width is None else width)


@functools.lru_cache(maxsize=256)  # a training run writes a card with the same costs at every checkpoint
def _costs(spec: ModelSpec, height: int, width: int) -> Costs:
    return costs_of(build(spec, "meta").eval(), height, width)


caches_by_spec.append(_costs.cache_clear)


def costs_of(vae: VAE, height: int, width: int) -> Costs:
    """Count the costs of a VAE on the meta device; see `costs`."""
    latents = torch.empty(1, *vae.diffusion_shape(height, width), device="meta")
    images = torch.empty(1, vae.spec.image.channels, height, width, device="meta")
    with torch.no_grad():
        rows = _rows(vae.spec, "encoder", vae.encoder, images) + _rows(vae.spec, "decoder", vae.decoder, latents)
    return Costs(height, width, tuple(rows))


def _rows(spec: ModelSpec, half: str, stack: Stack, x: torch.Tensor) -> list[RowCost]:
    rows = []
    for index, (row, block) in enumerate(zip(getattr(spec, half), stack, strict=True)):
        counter = CountedOperations()
        with MetaKernels(), counter, _attention_flops(block, counter) as attention:
            x = block(x)
        gmacs = counter.total / 2e9  # PyTorch counts a multiply-accumulate as two operations
        _, channels, height, width = x.shape
        shape, params = (channels, height, width), count_params(block)
        rows.append(RowCost(half, index, row.block, row.arguments, shape, params, gmacs, sum(attention) / 2e9))
    return rows


@contextlib.contextmanager
def _attention_flops(block: nn.Module, counter: CountedOperations) -> Iterator[list[int]]:
    """Collect the operations that the counter counts in attention layers, as numbers that add up to the total."""
    counted: list[int] = []
    hooks = []
    for layer in block.modules():
        if isinstance(layer, (Attention, LinearAttention)):
            hooks.append(layer.register_forward_pre_hook(lambda *_: counted.append(-counter.total)))
            hooks.append(layer.register_forward_hook(lambda *_: counted.append(counter.total)))
    yield counted
    for hook in hooks:
        hook.remove()
