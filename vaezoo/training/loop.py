"""The loop: steps, and what is due after a step."""

import contextlib
import time
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vaezoo.data.seeds import generator
from vaezoo.distributed import ProcessGroup, mean_over_processes
from vaezoo.errors import TrainingError
from vaezoo.training.crops import Batch, to_images
from vaezoo.training.objective.task import Scalars
from vaezoo.training.recipe_schema import Recipe
from vaezoo.training.state import State


class Stepper:
    """Makes one step after the other: an update of the VAE, then one of the discriminator if it plays.

    Args:
        state: What is trained; changed by every step.
        recipe: How.
        group: This process among those that train together.
    """

    def __init__(self, state: State, recipe: Recipe, group: ProcessGroup) -> None:
        self.state, self.recipe, self.group = state, recipe, group
        self.module: nn.Module = state.task
        if group.world_size > 1:
            ids = [group.device.index] if group.device.type == "cuda" else None
            # in each phase the parameters of the other player take no part
            self.module = DistributedDataParallel(
                state.task, device_ids=ids, find_unused_parameters=state.discriminator is not None
            )

    def step(self, batches: list[Batch]) -> Scalars | None:
        """One step from `recipe.accumulate` batches; the losses and gradients' norms, or None if it was skipped.

        Raises:
            TrainingError: After `recipe.bad_steps` steps in a row without a finite gradient.
        """
        state, progress = self.state, self.state.progress
        images = [to_images(batch.pixels, self.group.device, self.recipe.channels_last) for batch in batches]
        plays = state.discriminator is not None and state.task.adversary.plays(progress.step)
        found = [
            self._backward("vae", *self._arguments(x, b), last=b is batches[-1])
            for x, b in zip(images, batches, strict=True)
        ]
        reconstructions = [each.pop("reconstruction") for each in found]
        parts = {**_mean(found), "grad_norm": state.vae.update(progress.step)}
        if parts["grad_norm"].isfinite():  # the same on all ranks, which share their gradients
            state.ema.update(state.task.vae, progress.step + 1)
        if plays:
            parts |= self._discriminate(images, reconstructions)
        progress.step += 1
        progress.seen += self.group.world_size * sum(len(batch.numbers) for batch in batches)
        return parts if self._finite(parts) else None

    def _arguments(self, images: Tensor, batch: Batch) -> tuple[Tensor, Tensor, int, torch.Generator]:
        """Of `Task.vae_losses`, for one batch."""
        vae, (height, width), seed = self.state.task.vae, images.shape[2:], self.recipe.seed
        shape = vae.latent_channels, height // vae.downscale, width // vae.downscale
        noise = draw_noise(shape, batch.numbers, seed).to(images.device)
        step = self.state.progress.step
        return images, noise, step, generator(seed, "regularizers", step)

    def _discriminate(self, images: list[Tensor], reconstructions: list[Tensor]) -> Scalars:
        pairs = zip(images, reconstructions, strict=True)
        found = [self._backward("discriminator", x, y, last=x is images[-1]) for x, y in pairs]
        norm = self.state.discriminator.update(self.state.progress.step)
        return {f"discriminator_{name}": value for name, value in {**_mean(found), "grad_norm": norm}.items()}

    def _backward(self, phase: str, *arguments: object, last: bool) -> Scalars:
        """Add to the gradient; the ranks exchange theirs in the last backward pass of a step only."""
        with contextlib.nullcontext() if last or self.group.world_size == 1 else self.module.no_sync():
            found = self.module(phase, *arguments)
            (found["loss"] / self.recipe.accumulate).backward()
        return {name: value.detach() for name, value in found.items()}

    def _finite(self, parts: Scalars) -> bool:
        """Count a step; raise if too many in a row were skipped."""
        progress = self.state.progress
        finite = all(bool(norm.isfinite()) for name, norm in parts.items() if name.endswith("grad_norm"))
        progress.skipped += not finite
        progress.streak = 0 if finite else progress.streak + 1
        if progress.streak >= self.recipe.bad_steps:
            raise TrainingError(
                f"step {progress.step}: the gradient was not finite {progress.streak} times in a row; "
                "lower optimizer.lr or clip, or resume from an earlier checkpoint"
            )
        return finite


def draw_noise(shape: tuple[int, ...], which: list[int], seed: int) -> Tensor:
    """Standard normal noise, of `shape` (z, h, w) for each crop: by the crop's number, whichever rank it is on."""
    return torch.stack([torch.randn(shape, generator=generator(seed, "noise", number)) for number in which])


def _mean(parts: Iterable[Scalars]) -> Scalars:
    """The mean of each scalar over those that have it."""
    values: dict[str, list[Tensor]] = {}
    for part in parts:
        for name, value in part.items():
            values.setdefault(name, []).append(value.float())
    return {name: torch.stack(found).mean() for name, found in values.items()}


class Meter:
    """Means of what the steps since the last line of the log gave, and where their time went."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.waited, self.images = 0.0, 0
        self.parts: list[Scalars] = []

    def add(self, parts: Scalars | None, images: int) -> None:
        """Take in one step; a skipped one has no parts."""
        self.images += images
        self.parts += [parts] if parts else []

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Time within the block is spent waiting for data."""
        begun = time.monotonic()
        yield
        self.waited += time.monotonic() - begun

    def line(self, group: ProcessGroup) -> dict[str, float]:
        """The means over the steps and all ranks; begins anew."""
        seconds = time.monotonic() - self.begun
        means = _mean(self.parts)
        values = mean_over_processes(torch.stack(list(means.values()))) if means else []
        line = {
            **{name: float(value) for name, value in zip(means, values, strict=True)},
            "images_per_second": group.world_size * self.images / max(seconds, 1e-9),
            "data_wait": self.waited / max(seconds, 1e-9),  # a share of the time
            "seconds": seconds,
        }
        self.__init__()
        return line
