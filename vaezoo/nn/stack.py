"""Builds the blocks of an encoder or decoder from its rows."""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vaezoo.nn.base import Block
from vaezoo.nn.blocks import BLOCKS
from vaezoo.nn.distributions import LATENTS
from vaezoo.nn.own_blocks import built_fault, is_own
from vaezoo.specs.check import arguments_for
from vaezoo.specs.extensions import USER_CODE_ERRORS
from vaezoo.specs.faults import Faults
from vaezoo.specs.model import BlockSpec, ModelSpec


class Stack(nn.Sequential):
    """The blocks of an encoder or decoder, in order.

    Attributes:
        name: `"encoder"` or `"decoder"`.
        checkpointing: Whether to recompute the activations of each block in the backward pass, which saves memory.
        dtypes: Dtype in which each block gets its input, if `vaezoo.optimize` keeps some blocks in float32; else empty.
    """

    name = ""
    checkpointing = False
    dtypes: tuple[torch.dtype, ...] = ()

    def __iter__(self) -> Iterator[Block]:
        return cast(Iterator[Block], super().__iter__())

    @property
    def scale(self) -> Fraction:
        """Factor by which all blocks together change height and width."""
        return math.prod((block.scale for block in self), start=Fraction(1))

    def check_present(self) -> None:
        """Raise `InputError` if the model was created without this half."""

    def forward(self, x: Tensor) -> Tensor:
        for index, block in enumerate(self):
            x = self.input_of(index, x)
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return x

    def input_of(self, index: int, x: Tensor) -> Tensor:
        """`x` in the dtype of the block with an index."""
        return x if not self.dtypes or x.dtype == self.dtypes[index] else x.to(self.dtypes[index])


class Executor(Protocol):
    """Runs a half of a network in another way than by calling it, as `vaezoo.optimize` chooses.

    Attributes:
        cast_from: Dtype of the weights before they were cast for speed; `None` if they were not.
    """

    cast_from: torch.dtype | None

    def __call__(self, half: Stack, x: Tensor) -> Tensor:
        """The float32 result of `half(x)` for `x` of any floating-point dtype and device."""


def named_channels(spec: ModelSpec) -> dict[str, int]:
    """The numbers of channels that `out: image`, `out: latent` and `out: moments` stand for."""
    z = spec.latent.channels
    return {"image": spec.image.channels, "latent": z, "moments": LATENTS[spec.latent.kind].moments_per_channel * z}


def build_stack(spec: ModelSpec, half: str, faults: Faults) -> Stack:
    """The blocks of a half of a network.

    Args:
        spec: The network.
        half: `"encoder"` or `"decoder"`.
        faults: Receives a fault for each row that cannot be built or does not fit its neighbors.
    """
    named = named_channels(spec)
    start, end = ("image", "moments") if half == "encoder" else ("latent", "image")
    stack, channels = Stack(), named[start]
    stack.name = half
    for index, row in enumerate(getattr(spec, half)):
        arguments = dict(row.arguments)
        if isinstance(arguments.get("out"), str):
            arguments["out"] = named[arguments["out"]]
        try:
            block = _build_block(row, channels, arguments)
            if block.scale > 1 if half == "encoder" else block.scale < 1:
                raise ValueError(f"a row of the {half} cannot be {row.block} with a resampler")
            stack.append(block)
            channels = block.out
        except ValueError as error:
            faults.add(row.location, f"{half}[{index}]", str(error))
            channels = arguments.get("out", channels)
    if channels != named[end]:
        last = getattr(spec, half)[-1]
        text = f"the {half} ends with {channels} channels, not {named[end]}; its last row should say out: {end}"
        faults.add(last.location, f"{half}[{len(getattr(spec, half)) - 1}]", text)
    return stack


def _build_block(row: BlockSpec, channels: int, arguments: dict[str, Any]) -> Block:
    """Build the block of a row; all faults of a block from outside are a `ValueError`, as those of vaezoo's are."""
    target = BLOCKS[row.block]
    if not is_own(row.block):
        return target(channels, **arguments_for(target, arguments))
    try:
        block = target(channels, **arguments_for(target, arguments))
    except ValueError:
        raise
    except USER_CODE_ERRORS as error:
        text = f"{row.block}: {target.__name__} cannot be built: {type(error).__name__}: {error}"
        raise ValueError(text) from error
    if fault := built_fault(row.block, block):
        raise ValueError(fault)
    return block


def count_params(module: nn.Module) -> int:
    """Number of parameters of a module."""
    return sum(p.numel() for p in module.parameters())
