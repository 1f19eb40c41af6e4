"""The batches of a run: which crops each step takes, and the data loader that makes them."""

import contextlib
import multiprocessing
import signal
from collections.abc import Iterator
from multiprocessing.util import Finalize
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from vaezoo.data.crops import Crop, CropDataset, CropStream, collate
from vaezoo.data.seeds import numbers
from vaezoo.data.settings import DataConfig
from vaezoo.errors import TrainingError


class CropSampler(Sampler[list[Crop]]):
    """Batches of crops for one process, from a step on: `accumulate` batches for each step.

    Processes take neighboring parts of each batch, so n processes with batch size b see what one process with batch
    size n * b sees.

    Args:
        data: Settings of the crops.
        seed: Seed of the run.
        steps: Number of steps of the whole run.
        batch_size: Crops of the largest size in a batch of one process.
        accumulate: Batches of one step.
        step: First step, from 0.
        seen: Number of crops that all processes together took before that step.
        rank: Number of this process, from 0.
        world_size: Number of processes.
    """

    def __init__(
        self,
        data: DataConfig,
        *,
        seed: int,
        steps: int,
        batch_size: int,
        accumulate: int = 1,
        step: int = 0,
        seen: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.data, self.seed, self.steps = data, seed, steps
        self.batch_size, self.accumulate = batch_size, accumulate
        self.step, self.seen = step, seen
        self.rank, self.world_size = rank, world_size

    def __iter__(self) -> Iterator[list[Crop]]:
        start = self.seen
        for step in range(self.step, self.steps):
            size = self.size_of(step)
            crops = self.crops_of(size)
            for _ in range(self.accumulate):
                first = start + self.rank * crops
                yield [Crop(number, size) for number in range(first, first + crops)]
                start += crops * self.world_size

    def size_of(self, step: int) -> int:
        """Return the pixels per side of the crops of a step (from 0), the same in all processes."""
        if step >= round(self.steps * (1 - self.data.last)):
            return max(self.data.sizes)
        return numbers(self.seed, "size", step).choice(self.data.sizes)

    def crops_of(self, size: int) -> int:
        """Return the number of crops in a batch of one process, for crops of `size` pixels per side."""
        if not self.data.equal_pixels:
            return self.batch_size
        return int(self.batch_size * (max(self.data.sizes) / size) ** 2)


def make_dataset(sampler: CropSampler) -> CropDataset | CropStream:
    """Create the dataset that makes the crops of a sampler.

    Raises:
        FileError: If the source of the photos does not exist, cannot be opened or holds no photos.
    """
    if not sampler.data.streamed:
        return CropDataset(sampler.data, sampler.seed)
    sampler.data.check_source()
    return CropStream(sampler.data, sampler.seed, sampler, sampler.seen)


def make_loader(crops: CropDataset | CropStream, sampler: CropSampler, pin_memory: bool = False) -> DataLoader[Any]:
    """Create the data loader of a run, which yields `Batch`.

    Args:
        crops: Dataset of `make_dataset`.
        sampler: Which crops to make.
        pin_memory: Whether to copy batches to pinned memory, for GPUs.
    """
    if sampler.data.workers:
        Finalize(None, kill_workers, exitpriority=1)  # runs before Python waits for them
    common: dict[str, Any] = {
        "num_workers": sampler.data.workers,
        "pin_memory": pin_memory,
        "worker_init_fn": ignore_signals,
        "generator": torch.Generator(),  # otherwise the loader would draw from the global one, which resuming restores
    }
    if isinstance(crops, CropStream):
        return DataLoader(crops, batch_size=None, **common)
    return DataLoader(crops, batch_sampler=sampler, collate_fn=collate, **common)


@contextlib.contextmanager
def worker_errors(remedy: str) -> Iterator[None]:
    """Context manager that turns the end of a worker process, which PyTorch may report at any moment, into our error.

    Args:
        remedy: How to go on afterwards, the end of the message.

    Raises:
        TrainingError: If a worker was killed, or could not start.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        text, _, more = str(error).rstrip(". ").partition(". ")
        cause = 'free memory, or guard the script with `if __name__ == "__main__":`'
        if "shared memory" in more:
            cause = "raise the limit of shared memory (/dev/shm)"
        raise TrainingError(f"{text}; {cause}, or use fewer workers (0 for none); {remedy}") from error


def ignore_signals(worker: int) -> None:
    """Ignore SIGTERM and Ctrl-C in a worker process; the training process gets them too, and ends its workers."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def kill_workers() -> None:
    """Kill workers that are left when the process ends; they ignore the SIGTERM that Python sends and waits for."""
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
