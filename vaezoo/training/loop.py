"""Training steps, and the losses and times to log."""

import contextlib
import time
from collections.abc import Iterable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vaezoo.data.crops import Batch, to_images
from vaezoo.data.seeds import generator
from vaezoo.distributed import ProcessGroup, mean_over_processes
from vaezoo.errors import TrainingError
from vaezoo.out_of_memory import enough_memory
from vaezoo.training.objective.task import Scalars
from vaezoo.training.optim import Updater
from vaezoo.training.recipe_schema import Recipe
from vaezoo.training.state import State

REMEDY = "lower batch_size, which accumulate can make up for, or data.sizes; or set precision: bf16"


class Stepper:
    """Training steps: an update of the VAE, then one of the discriminator once it takes part.

    Args:
        state: State of the run, changed in place by every step.
        recipe: What to train, and how.
        group: This process among those that train together.
    """

    def __init__(self, state: State, recipe: Recipe, group: ProcessGroup) -> None:
        self.state, self.recipe, self.group = state, recipe, group
        self.module: nn.Module = state.task
        if group.world_size > 1:
            ids = [group.device.index] if group.device.type == "cuda" else None
            # in each phase, VAE or discriminator, the parameters of the other are unused
            self.module = DistributedDataParallel(
                state.task, device_ids=ids, find_unused_parameters=state.discriminator is not None
            )

    def step(self, batches: list[Batch]) -> Scalars | None:
        """Make one step.

        Args:
            batches: `recipe.accumulate` batches, whose gradients are averaged.

        Returns:
            Losses and gradient norms by name, or `None` if a gradient was not finite and its update was skipped.

        Raises:
            TrainingError: After `recipe.bad_steps` steps in a row without a finite gradient.
            OutOfMemoryError: If there is not enough memory.
        """
        with enough_memory(partial(self._size, batches), REMEDY):
            return self._step(batches)

    def _size(self, batches: list[Batch]) -> str:
        count, _, height, width = batches[0].pixels.shape
        step, precision = self.state.progress.step + 1, self.recipe.precision
        return f"step {step}: a batch of {count} crops of {height} x {width} pixels in {precision}"

    def _step(self, batches: list[Batch]) -> Scalars | None:
        state, progress = self.state, self.state.progress
        images = [to_images(batch.pixels, self.group.device, self.recipe.channels_last) for batch in batches]
        adversary = state.task.adversary
        has_started = adversary is not None and adversary.plays(progress.step)
        results = [
            self._backward("vae", *self._arguments(x, b), last=b is batches[-1])
            for x, b in zip(images, batches, strict=True)
        ]
        reconstructions = [result.pop("reconstruction") for result in results]
        losses = {**_mean(results), "grad_norm": state.vae.update(progress.step)}
        if losses["grad_norm"].isfinite():  # the same in all processes, which share their gradients
            state.ema.update(state.task.vae, progress.step + 1)
        if has_started and state.discriminator:
            losses |= self._discriminate(state.discriminator, images, reconstructions)
        progress.step += 1
        progress.seen += self.group.world_size * sum(len(batch.numbers) for batch in batches)
        return losses if self._is_finite(losses) else None

    def _arguments(self, images: Tensor, batch: Batch) -> tuple[Tensor, Tensor, int, torch.Generator]:
        """Create the arguments of `Task.vae_losses` for one batch."""
        vae, (height, width), seed = self.state.task.vae, images.shape[2:], self.recipe.seed
        shape = vae.latent_channels, height // vae.downscale, width // vae.downscale
        noise = draw_noise(shape, batch.numbers, seed).to(images.device)
        step = self.state.progress.step
        return images, noise, step, generator(seed, "regularizers", step)

    def _discriminate(self, updater: Updater, images: list[Tensor], reconstructions: list[Tensor]) -> Scalars:
        pairs = zip(images, reconstructions, strict=True)
        results = [self._backward("discriminator", x, y, last=x is images[-1]) for x, y in pairs]
        losses = {**_mean(results), "grad_norm": updater.update(self.state.progress.step)}
        return {f"discriminator_{name}": value for name, value in losses.items()}

    def _backward(self, phase: str, *arguments: object, last: bool) -> Scalars:
        """Add to the gradients; processes exchange theirs in the last backward pass of a step only."""
        module = self.module
        with module.no_sync() if isinstance(module, DistributedDataParallel) and not last else contextlib.nullcontext():
            losses = module(phase, *arguments)
            (losses["loss"] / self.recipe.accumulate).backward()
        return {name: value.detach() for name, value in losses.items()}

    def _is_finite(self, losses: Scalars) -> bool:
        """Count the step; raise if too many in a row were skipped."""
        progress = self.state.progress
        finite = all(bool(norm.isfinite()) for name, norm in losses.items() if name.endswith("grad_norm"))
        progress.skipped += not finite
        progress.streak = 0 if finite else progress.streak + 1
        if progress.streak >= self.recipe.bad_steps:
            raise TrainingError(
                f"step {progress.step}: the gradient was not finite {progress.streak} times in a row; "
                "lower optimizer.lr or clip, or resume from an earlier checkpoint"
            )
        return finite


def draw_noise(shape: tuple[int, ...], which: list[int], seed: int) -> Tensor:
    """Draw standard normal noise for a batch; that of a crop depends on its number only, not on its process.

    Args:
        shape: Shape (z, h, w) of one latent.
        which: Numbers of the crops.
        seed: Seed of the run.

    Returns:
        Noise of shape (B, z, h, w), float32, on the CPU.
    """
    return torch.stack([torch.randn(shape, generator=generator(seed, "noise", number)) for number in which])


def _mean(results: Iterable[Scalars]) -> Scalars:
    """Average each scalar over the results that have it."""
    values: dict[str, list[Tensor]] = {}
    for result in results:
        for name, value in result.items():
            values.setdefault(name, []).append(value.float())
    return {name: torch.stack(scalars).mean() for name, scalars in values.items()}


class Meter:
    """Losses and times of the steps since the last line of the log."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.start = time.monotonic()
        self.waited, self.images = 0.0, 0
        self.losses: list[Scalars] = []

    def add(self, losses: Scalars | None, images: int) -> None:
        """Add one step.

        Args:
            losses: Losses of the step, or `None` if it was skipped.
            images: Number of images of this process.
        """
        self.images += images
        self.losses += [losses] if losses else []

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time within the block as time spent waiting for data."""
        start = time.monotonic()
        yield
        self.waited += time.monotonic() - start

    def line(self, group: ProcessGroup) -> dict[str, float]:
        """Average over the steps and all processes, then start again.

        Args:
            group: This process among those that train together; all of them must call this method.

        Returns:
            The losses by name, `images_per_second` of all processes, `data_wait` as a fraction of the time, and
            `seconds`.
        """
        seconds = time.monotonic() - self.start
        means = _mean(self.losses)
        values = mean_over_processes(torch.stack(list(means.values()))).tolist() if means else []
        line = {
            **dict(zip(means, values, strict=True)),
            "images_per_second": group.world_size * self.images / max(seconds, 1e-9),
            "data_wait": self.waited / max(seconds, 1e-9),
            "seconds": seconds,
        }
        self._clear()
        return line
