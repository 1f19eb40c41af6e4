"""Executors, by which `VAE.encode` and `VAE.decode` run a half of a network in another way than by calling it."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor

from vaezoo.distributed import SINGLE, ProcessGroup
from vaezoo.inference.finite_guard import FiniteGuard
from vaezoo.inference.process_memory import free_bytes
from vaezoo.inference.strip_pass import (
    as_weights,
    each_row,
    has_hooks,
    memory_format_of,
    needed_bytes,
    no_autocast,
    run_as_it_is,
    run_half,
    through,
    values_in,
)
from vaezoo.inference.strips.nodes import Reading
from vaezoo.inference.strips.rows import Rows
from vaezoo.inference.strips.split_run import SplitRun
from vaezoo.inference.strips.strip_run import Plan, Run
from vaezoo.inference.strips.winograd import is_wide
from vaezoo.inference.threads import in_threads
from vaezoo.nn.stack import Stack
from vaezoo.nn.vae import VAE
from vaezoo.out_of_memory import enough_memory

logger = logging.getLogger(__name__)

NO_LIMIT = 1 << 60
FASTEST = Plan(strip_bytes=64 << 20, kept_positions=NO_LIMIT)  # higher strips are no faster and need more memory
SMALLER = (64 << 20, 8 << 20)  # bytes of strips; smaller ones need less memory and repeat more work
KEPT = 1 / 4  # share of the pixels up to which maps are kept: larger ones decide about the peak
USABLE = 0.7  # share of the free memory that tensors may take: gaps between them took up to a third more


@dataclass
class StripExecutor:
    """Runs a half strip by strip, with the result of running it as a whole.

    With gradients enabled the half is called as it is, because a backward pass needs all maps. A half that strips would
    not make faster runs as it is, too, unless `tile` or `processes` is given. On a CPU without these, the images of a
    batch run at the same time.

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
            return cast(Tensor, half(as_weights(half, x))).float()
        plan, images = self.plan(half, as_weights(half, x[:1])), x.split(1)
        most = 1 if len(images) == 1 else self._at_once(half, images[0])
        results = in_threads(lambda image: self._of_image(half, image, plan), images, most)
        return results[0] if len(results) == 1 else torch.cat(results)

    def _at_once(self, half: Stack, image: Tensor) -> int:
        """How many images of a batch fit into memory at once; 1 where strips, processes or hooks expect one by one."""
        x = as_weights(half, image)
        if self.tile is not None or self.processes.world_size > 1 or x.device.type != "cpu" or has_hooks(half):
            return 1
        # twice the largest map that there could be; `needed_bytes` is exact, but what it imports takes seconds
        image_bytes = 2 * math.prod(self._size(half, x)) * max(len(weight) for weight in half.parameters()) * x.itemsize
        return int(USABLE * free_bytes(x.device)) // image_bytes

    def _of_image(self, half: Stack, image: Tensor, plan: Plan) -> Tensor:
        x = as_weights(half, image)
        run = self._new_run(plan)
        with enough_memory(lambda: self._work(half, x, plan), self._remedy()), no_autocast(x):
            result = run_as_it_is(half, x) if self._is_narrow(half, x) else run_half(half, x, run)
        if run.whole:
            logger.debug(f"{half.name}: whole maps, not strips, for {', '.join(sorted(set(run.whole)))}")
        if self.guard is None:
            return result
        return self.guard(half, image, result, lambda: each_row(half, x, plan, self.fuse))

    def _is_narrow(self, half: Stack, x: Tensor) -> bool:
        """Whether a half runs as it is: without wide convolutions, strips are no faster on a CPU in float32."""
        if self.tile is not None or self.processes.world_size > 1 or (x.device.type, x.dtype) != ("cpu", torch.float32):
            return False
        return not any(is_wide(weight) for weight in half.parameters())

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
        x = as_weights(half, torch.empty(1)).expand(shape)  # takes no memory
        plan, memory_format = self.plan(half, x), memory_format_of(half)
        work = values_in(half, x, plan, self.fuse)
        run = Run(plan, self.fuse, on_strip=lambda values: progress(values / work))

        def rows(first: int, last: int) -> Tensor:
            return as_weights(half, read(first, last)).contiguous(memory_format=memory_format)

        with enough_memory(lambda: self._work(half, x, plan), self._remedy()), no_autocast(x):
            made = through(half, [Rows.of(run, Reading(x.shape, x.dtype, rows), x.device)])
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

    def _size(self, stack: Stack, x: Tensor) -> tuple[int, int]:
        """Height and width of an image by the input of a half."""
        scale = 1 if stack.scale < 1 else self.downscale
        return x.shape[-2] * scale, x.shape[-1] * scale

    def plan(self, stack: Stack, x: Tensor) -> Plan:
        """The strips of a pass.

        Args:
            stack: Encoder or decoder.
            x: An image or latent of shape (1, C, H, W).
        """
        if self.tile is None:
            return FASTEST
        height, width = self._size(stack, x)
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
