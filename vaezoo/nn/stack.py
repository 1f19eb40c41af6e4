"""Rows to modules: the previous row's channels go into the next, named channel counts are filled in."""

import math
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vaezoo.nn.blocks import BLOCKS
from vaezoo.nn.distributions import LATENTS
from vaezoo.specs.check import Faults, arguments_for
from vaezoo.specs.model import ModelSpec


class Stack(nn.Sequential):
    """The rows of one half, in order; `checkpointing` recomputes each row in the backward pass to save memory."""

    checkpointing = False

    @property
    def scale(self) -> Fraction:
        """The factor by which all rows together change height and width."""
        return math.prod((block.scale for block in self), start=Fraction(1))

    def forward(self, x: Tensor) -> Tensor:
        for block in self:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return x


def named_channels(spec: ModelSpec) -> dict[str, int]:
    """What `out: image`, `out: latent` and `out: moments` stand for."""
    z = spec.latent.channels
    return {"image": spec.image.channels, "latent": z, "moments": LATENTS[spec.latent.kind].moments_per_channel * z}


def build_stack(spec: ModelSpec, half: str, faults: Faults) -> Stack:
    """The modules of `encoder` or `decoder`; what cannot be built is added to `faults`."""
    named = named_channels(spec)
    start, end = ("image", "moments") if half == "encoder" else ("latent", "image")
    stack, channels = Stack(), named[start]
    for index, row in enumerate(getattr(spec, half)):
        arguments = dict(row.arguments)
        if isinstance(arguments.get("out"), str):
            arguments["out"] = named[arguments["out"]]
        try:
            block = BLOCKS[row.block](channels, **arguments_for(BLOCKS[row.block], arguments))
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


def count_params(module: nn.Module) -> int:
    """Parameters of a module."""
    return sum(p.numel() for p in module.parameters())
