"""Executors, by which `VAE.encode` and `VAE.decode` run a half of a network in another way than by calling it."""

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from vaezoo.analysis.memory import peak_of
from vaezoo.distributed import SINGLE, ProcessGroup
from vaezoo.inference.finite_guard import FiniteGuard
from vaezoo.inference.process_memory import free_bytes
from vaezoo.inference.strips.nodes import Reading, of_tensor
from vaezoo.inference.strips.rows import Rows
from vaezoo.inference.strips.split_run import SplitRun
from vaezoo.inference.strips.strip_run import DryRun, Plan, Run
from vaezoo.nn.stack import Stack
from vaezoo.nn.vae import VAE
from vaezoo.out_of_memory import enough_memory

logger = logging.getLogger(__name__)

NO_LIMIT = 1 << 60
FASTEST = Plan(strip_bytes=64 << 20, kept_positions=NO_LIMIT)  # higher strips are no faster and need more memory
SMALLER = (64 << 20, 8 << 20)  # bytes of strips; smaller ones need less memory and repeat more work
KEPT = 1 / 4  # share of the pixels up to which maps are kept: larger ones decide about the peak
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
        processes: The processes that share each image.
    """

    tile: int | str | None
    fuse: bool
    downscale: int
    cast_from: torch.dtype | None
    guard: FiniteGuard | None = None
    processes: ProcessGroup = SINGLE
    _needs: dict[object, int] = field(default_factory=dict, init=False, repr=False, compare=False)  # of passes so far

    def __call__(self, half: Stack, x: Tensor) -> Tensor:
        """The float32 result of `half(x)` for `x` of any floating-point dtype and device."""
        if torch.is_grad_enabled():
            return cast(Tensor, half(_as_weights(half, x))).float()
        plan = self.plan(half, _as_weights(half, x[:1]))
        results = [self._of_image(half, image, plan) for image in x.split(1)]
        return results[0] if len(results) == 1 else torch.cat(results)

    def _of_image(self, half: Stack, image: Tensor, plan: Plan) -> Tensor:
        x = _as_weights(half, image)
        run = self._new_run(plan)
        with enough_memory(lambda: self._work(half, x, plan), self._remedy()), _no_autocast(x):
            result = _run(half, x, run)
        if run.whole:
            logger.debug(f"{half.name}: whole maps, not strips, for {', '.join(sorted(set(run.whole)))}")
        if self.guard is None:
            return result
        return self.guard(half, image, result, lambda: each_row(half, x, plan, self.fuse))

    def _work(self, half: Stack, x: Tensor, plan: Plan) -> str:
        need = self._need(half, x, plan) / 2**20
        return f"the {half.name}, with an input of shape {tuple(x.shape)} in {x.dtype}, needs about {need:,.0f} MiB"

    def _remedy(self) -> str:
        if self.tile is None:
            return "use vaezoo.optimize(vae, tile='auto'), which runs in strips, or dtype='bf16'"
        if self.tile == "auto":
            return "take a smaller image, dtype='bf16', or a device with more free memory"
        return f"use tile='auto', a tile of less than {self.tile} pixels, or dtype='bf16'"

    def _new_run(self, plan: Plan) -> Run:
        if self.processes.world_size == 1:
            return Run(plan, self.fuse)
        return SplitRun(plan, self.fuse, group=self.processes)

    def stream(
        self,
        half: Stack,
        shape: tuple[int, int, int, int],
        read: Callable[[int, int], Tensor],
        progress: Callable[[float], object],
    ) -> Iterator[tuple[int, Tensor]]:
        """The float32 result of a half strip by strip from top to bottom, each with its first row.

        Args:
            half: Encoder or decoder.
            shape: Shape of its input, (1, C, H, W).
            read: Returns the rows of a range of the input, of any floating-point dtype and device; it is called several
                times for each.
            progress: Called after each step with its share of the work; the shares add up to 1.
        """
        half.check_present()
        x = _as_weights(half, torch.empty(1)).expand(shape)  # takes no memory
        plan, memory_format = self.plan(half, x), _memory_format(half)
        work = _values(half, x, plan, self.fuse)
        run = Run(plan, self.fuse, on_strip=lambda values: progress(values / work))

        def rows(first: int, last: int) -> Tensor:
            return _as_weights(half, read(first, last)).contiguous(memory_format=memory_format)

        with enough_memory(lambda: self._work(half, x, plan), self._remedy()), _no_autocast(x):
            made = _through(half, [Rows.of(run, Reading(x.shape, x.dtype, rows), x.device)])
            if not isinstance(made, Rows):
                yield 0, made.float()
                return
            for first, strip in run.strips(made.handle.node):
                yield first, strip.float()

    def _need(self, stack: Stack, x: Tensor, plan: Plan) -> int:
        key = stack.name, x.shape, x.dtype, plan
        if key not in self._needs:
            self._needs[key] = needed_bytes(stack, x, plan, self.fuse)
        return self._needs[key]

    def plan(self, stack: Stack, x: Tensor) -> Plan:
        """The strips of a pass.

        Args:
            stack: Encoder or decoder.
            x: An image or latent of shape (1, C, H, W).
        """
        if self.tile is None:
            return FASTEST
        height, width = (side * (1 if stack.scale < 1 else self.downscale) for side in x.shape[-2:])
        kept = int(KEPT * height * width)
        if isinstance(self.tile, int):
            share = self.tile / height  # low strips are chosen to save memory, so that less is kept, too
            return Plan(NO_LIMIT, int(min(KEPT, 2 * share) * height * width), share)
        free = USABLE * free_bytes(x.device)
        plans = [FASTEST, *(Plan(strip_bytes, kept) for strip_bytes in SMALLER), Plan(SMALLER[-1], 0)]
        plan = next((plan for plan in plans if self._need(stack, x, plan) <= free), plans[-1])
        plan = plans[max(self.processes.gather(plans.index(plan)))]  # all processes must cut maps in the same way
        if plan is not FASTEST:
            text = f"{height} x {width} pixels in strips of about"
            need = self._need(stack, x, plan) / 2**20
            logger.warning(f"{text} {plan.strip_bytes >> 20} MiB, with {need:,.0f} MiB in all")
        return plan


def strips_by_memory(vae: VAE) -> StripExecutor:
    """The executor that chooses the height of strips by the free memory, for a model as it is."""
    return StripExecutor("auto", fuse=True, downscale=vae.downscale, cast_from=None, guard=FiniteGuard(vae.spec))


def _as_weights(stack: Stack, x: Tensor) -> Tensor:
    """`x` on the device and in the dtype of the weights."""
    weight = next(stack.parameters())
    return x.to(weight.device, weight.dtype)


def _run(stack: Stack, x: Tensor, run: Run) -> Tensor:
    x = x.contiguous(memory_format=_memory_format(stack))
    box: list[Tensor] = [Rows.of(run, of_tensor(x, run.rows(x.shape[-2])), x.device)]
    del x
    made = _through(stack, box)
    if not isinstance(made, Rows):
        return made.float()
    node = made.handle.node
    del made  # so that only hooks can still hold it
    return run.tensor(node, torch.float32)


def _no_autocast(x: Tensor) -> torch.autocast:
    """Nodes know the dtype of their results, and autocast would change it."""
    return torch.autocast(x.device.type, enabled=False)


def _memory_format(stack: Stack) -> torch.memory_format:
    kernels = [p for p in stack.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]  # others have both formats
    channels_last = any(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    return torch.channels_last if channels_last else torch.contiguous_format


def _through(stack: Stack, box: list[Tensor]) -> Tensor:
    """The result of all blocks; `box` has the only reference to the input."""
    if stack._forward_hooks or stack._forward_pre_hooks:
        return cast(Tensor, stack(box.pop()))
    for index, block in enumerate(stack):
        box.append(stack.input_of(index, box.pop()))
        # without hooks, `forward` is called directly: then no frame holds the input while the block runs, and it can be
        # freed strip by strip
        call = block if block._forward_hooks or block._forward_pre_hooks else block.forward
        box.append(call(box.pop()))
    return box.pop()


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
        x = _run(cast(Stack, stack[index : index + 1]), x.to(dtype), Run(plan, fuse))
        yield x


def needed_bytes(stack: Stack, x: Tensor, plan: Plan, fuse: bool) -> int:
    """Peak memory of a pass beyond weights, from running it on the meta device.

    Args:
        stack: Encoder or decoder.
        x: Its input, of which only shape, dtype and memory format matter.
        plan: The strips.
        fuse: As for `StripExecutor`.
    """
    shadow = _shadow(stack)
    weights = [*shadow.parameters(), *shadow.buffers()]
    return peak_of(lambda image: _run(shadow, image, Run(plan, fuse)), x.to("meta"), weights)


def _values(stack: Stack, x: Tensor, plan: Plan, fuse: bool) -> float:
    """The number of values in all strips of a pass."""
    run = DryRun(plan, fuse)
    _run(_shadow(stack), x.to("meta"), run)
    return run.values


def _shadow(stack: Stack) -> Stack:
    """A copy on the meta device, without hooks, which would see maps without values."""
    shadow = copy.deepcopy(stack, {id(p): _on_meta(p) for p in (*stack.parameters(), *stack.buffers())})
    for module in shadow.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return shadow


def _on_meta(x: Tensor) -> Tensor:
    shape_only = torch.empty_like(x, device="meta")
    return nn.Parameter(shape_only, requires_grad=x.requires_grad) if isinstance(x, nn.Parameter) else shape_only
