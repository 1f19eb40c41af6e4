"""The loop: steps, and what is due after a step."""

import contextlib
import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vaezoo.errors import TrainingError
from vaezoo.training.data import Batch, to_images
from vaezoo.training.ranks import Ranks
from vaezoo.training.recipe import Recipe
from vaezoo.training.seeds import generator
from vaezoo.training.state import State


class Stepper:
    """Makes one update of the weights after the other.

    Args:
        state: What is trained; changed by every step.
        recipe: How.
        ranks: This process and the others.
    """

    def __init__(self, state: State, recipe: Recipe, ranks: Ranks) -> None:
        self.state, self.recipe, self.ranks = state, recipe, ranks
        self.module: nn.Module = state.task
        if ranks.count > 1:
            ids = [ranks.device.index] if ranks.device.type == "cuda" else None
            self.module = DistributedDataParallel(state.task, device_ids=ids)
        self.parameters = [p for p in state.task.parameters() if p.requires_grad]

    def step(self, batches: list[Batch]) -> dict[str, Tensor] | None:
        """One update from `recipe.accumulate` batches; the losses and `grad_norm`, or None if it was skipped.

        Raises:
            TrainingError: After `recipe.bad_steps` steps in a row without a finite gradient.
        """
        state, progress = self.state, self.state.progress
        state.schedule.step_update(progress.step)
        parts = [self._backward(batch, last=batch is batches[-1]) for batch in batches]
        norm = nn.utils.clip_grad_norm_(self.parameters, math.inf if self.recipe.clip is None else self.recipe.clip)
        progress.step += 1
        progress.seen += self.ranks.count * sum(len(batch.numbers) for batch in batches)
        finite = bool(norm.isfinite())  # the same on all ranks, which share their gradients
        if finite:
            state.optimizer.step()
            state.ema.update(state.task.vae, progress.step)
        state.optimizer.zero_grad(set_to_none=True)
        progress.skipped, progress.streak = progress.skipped + (not finite), 0 if finite else progress.streak + 1
        if progress.streak >= self.recipe.bad_steps:
            raise TrainingError(
                f"step {progress.step}: the gradient was not finite {progress.streak} times in a row; lower optimizer.lr "
                "or clip, or resume from an earlier checkpoint"
            )
        return {**_mean(parts), "grad_norm": norm} if finite else None

    def _backward(self, batch: Batch, last: bool) -> dict[str, Tensor]:
        images = to_images(batch.pixels, self.ranks.device, self.recipe.channels_last)
        vae, (height, width) = self.state.task.vae, images.shape[2:]
        shape = vae.latent_channels, height // vae.downscale, width // vae.downscale
        noise = draw_noise(shape, batch.numbers, self.recipe.seed)
        with contextlib.nullcontext() if last or self.ranks.count == 1 else self.module.no_sync():
            found = self.module(images, noise.to(images.device))
            (found["loss"] / self.recipe.accumulate).backward()
        found.pop("reconstruction")
        return {name: value.detach() for name, value in found.items()}


def draw_noise(shape: tuple[int, ...], which: list[int], seed: int) -> Tensor:
    """Standard normal noise, of `shape` (z, h, w) for each crop: by the crop's number, whichever rank it is on."""
    return torch.stack([torch.randn(shape, generator=generator(seed, "noise", number)) for number in which])


def _mean(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}


class Meter:
    """Means of what the steps since the last line of the log gave, and where their time went."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.waited, self.images = 0.0, 0
        self.parts: list[dict[str, Tensor]] = []

    def add(self, parts: dict[str, Tensor] | None, images: int) -> None:
        """Take in one step; a skipped one has no parts."""
        self.images += images
        self.parts += [parts] if parts else []

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Time within the block is spent waiting for data."""
        begun = time.monotonic()
        yield
        self.waited += time.monotonic() - begun

    def line(self, ranks: Ranks) -> dict[str, float]:
        """The means over the steps and all ranks; begins anew."""
        seconds = time.monotonic() - self.begun
        means = _mean(self.parts) if self.parts else {}
        values = ranks.mean(torch.stack([value.float() for value in means.values()])) if means else []
        line = {
            **{name: float(value) for name, value in zip(means, values, strict=True)},
            "images_per_second": ranks.count * self.images / max(seconds, 1e-9),
            "data_wait": self.waited / max(seconds, 1e-9),  # a share of the time
            "seconds": seconds,
        }
        self.__init__()
        return line
