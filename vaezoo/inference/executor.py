"""Executors, by which `VAE.encode` and `VAE.decode` run a half of a network in another way than by calling it."""

import copy
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from vaezoo.analysis.memory import peak_of
from vaezoo.inference.finite_guard import FiniteGuard
from vaezoo.inference.process_memory import free_bytes
from vaezoo.inference.strips.nodes import of_tensor
from vaezoo.inference.strips.rows import Rows
from vaezoo.inference.strips.strip_run import Plan, Run
from vaezoo.nn.stack import Stack
from vaezoo.nn.vae import VAE
from vaezoo.out_of_memory import enough_memory

logger = logging.getLogger(__name__)

NO_LIMIT = 1 << 60
FASTEST = Plan(strip_bytes=NO_LIMIT, kept_bytes=NO_LIMIT)
SMALLER = (  # each needs less memory than the one before and repeats more work
    Plan(strip_bytes=64 << 20, kept_bytes=NO_LIMIT),
    Plan(strip_bytes=64 << 20, kept_bytes=0),
    Plan(strip_bytes=8 << 20, kept_bytes=0),
)
USABLE = 0.8  # share of the free memory that a pass may take; the rest is for other programs and for fragmentation


@dataclass
class StripExecutor:
    """Runs a half strip by strip, with the result of running it as a whole.

    With gradients enabled the half is called as it is, because a backward pass needs all maps.

    Args:
        tile: Height of a strip in pixels of the image; "auto" chooses it by the free memory, and `None` by speed.
        fuse: Whether to rewrite convolutions, as `vaezoo.optimize` explains.
        downscale: Pixels per latent position.
        cast_from: Dtype of the weights before they were cast for speed; `None` if they were not.
        guard: Checks results in lower precision than float32; `None` to check nothing.
    """

    tile: int | str | None
    fuse: bool
    downscale: int
    cast_from: torch.dtype | None
    guard: FiniteGuard | None = None

    def __call__(self, half: Stack, x: Tensor) -> Tensor:
        """The float32 result of `half(x)` for `x` of any floating-point dtype and device."""
        weight = next(half.parameters())
        if torch.is_grad_enabled():
            return cast(Tensor, half(x.to(weight.device, weight.dtype))).float()
        plan = self.plan(half, x[:1].to(weight.device, weight.dtype))
        results = [self._of_image(half, image, plan) for image in x.split(1)]
        return results[0] if len(results) == 1 else torch.cat(results)

    def _of_image(self, half: Stack, image: Tensor, plan: Plan) -> Tensor:
        weight = next(half.parameters())
        x = image.to(weight.device, weight.dtype)
        with enough_memory(lambda: self._work(half, x, plan), self._remedy()):
            result = _run(half, x, plan, self.fuse)
        if self.guard is None:
            return result
        return self.guard(half, image, result, lambda: each_row(half, x, plan, self.fuse))

    def _work(self, half: Stack, x: Tensor, plan: Plan) -> str:
        need = needed_bytes(half, x, plan, self.fuse) / 2**20
        return f"the {half.name}, with an input of shape {tuple(x.shape)} in {x.dtype}, needs about {need:,.0f} MiB"

    def _remedy(self) -> str:
        if self.tile is None:
            return "use vaezoo.optimize(vae, tile='auto'), which runs in strips, or dtype='bf16'"
        if self.tile == "auto":
            return "take a smaller image, dtype='bf16', or a device with more free memory"
        return f"use tile='auto', a tile of less than {self.tile} pixels, or dtype='bf16'"

    def plan(self, stack: Stack, x: Tensor) -> Plan:
        """The strips of a pass.

        Args:
            stack: Encoder or decoder.
            x: An image or latent of shape (1, C, H, W).
        """
        if self.tile is None:
            return FASTEST
        pixels = x.shape[-2] * (1 if stack.scale < 1 else self.downscale)
        if isinstance(self.tile, int):
            return Plan(NO_LIMIT, kept_bytes=0, share=self.tile / pixels)
        free = USABLE * free_bytes(x.device)
        for plan in (FASTEST, *SMALLER):
            need = needed_bytes(stack, x, plan, self.fuse)
            if need <= free:
                break
        if plan is not FASTEST:
            text = f"{pixels} x {x.shape[-1] * pixels // x.shape[-2]} pixels in strips of about"
            logger.warning(f"{text} {plan.strip_bytes >> 20} MiB, with {need / 2**20:,.0f} MiB in all")
        return plan


def strips_by_memory(vae: VAE) -> StripExecutor:
    """The executor that chooses the height of strips by the free memory, for a model as it is."""
    return StripExecutor("auto", fuse=True, downscale=vae.downscale, cast_from=None, guard=FiniteGuard(vae.spec))


def _run(stack: Stack, x: Tensor, plan: Plan, fuse: bool) -> Tensor:
    channels_last = any(p.ndim == 4 and p.shape[1] > 1 and p.stride(1) == 1 for p in stack.parameters())
    x = x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    run = Run(plan, fuse)
    box: list[Tensor] = [Rows.of(run, of_tensor(x), x.device)]
    del x
    for index, block in enumerate(stack):
        box.append(stack.input_of(index, box.pop()))
        # without hooks, `forward` is called directly: then no frame holds the input while the block runs, and it can be
        # freed strip by strip
        call = block if block._forward_hooks or block._forward_pre_hooks else block.forward
        box.append(call(box.pop()))
    made = box.pop()
    return run.tensor(made.handle.node, torch.float32) if isinstance(made, Rows) else made.float()


def each_row(stack: Stack, x: Tensor, plan: Plan, fuse: bool) -> Iterator[Tensor]:
    """The whole result of each block, one after the other; the first one is `x`, the input.

    Args:
        stack: Encoder or decoder.
        x: Its input, of shape (1, C, H, W).
        plan: The strips.
        fuse: As for `StripExecutor`.
    """
    dtypes = stack.dtypes or (x.dtype,) * len(stack)
    yield x
    for index, dtype in enumerate(dtypes):
        x = _run(cast(Stack, stack[index : index + 1]), x.to(dtype), plan, fuse)
        yield x


def needed_bytes(stack: Stack, x: Tensor, plan: Plan, fuse: bool) -> int:
    """Peak memory of a pass beyond weights, from running it on the meta device.

    Args:
        stack: Encoder or decoder.
        x: Its input, of which only shape, dtype and memory format matter.
        plan: The strips.
        fuse: As for `StripExecutor`.
    """
    shadow = copy.deepcopy(stack, {id(p): _on_meta(p) for p in (*stack.parameters(), *stack.buffers())})
    weights = [*shadow.parameters(), *shadow.buffers()]
    return peak_of(lambda image: _run(shadow, image, plan, fuse), x.to("meta"), weights)


def _on_meta(x: Tensor) -> Tensor:
    shape_only = torch.empty_like(x, device="meta")
    return nn.Parameter(shape_only, requires_grad=x.requires_grad) if isinstance(x, nn.Parameter) else shape_only
