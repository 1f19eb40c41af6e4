"""Which crops each step sees: a function of the recipe, its seed and the number of a crop, and of nothing else.

Crops are numbered over the whole run and all ranks. A crop's photo, place and flip follow from its number, so a run
that is resumed, or has other ranks, goes on with exactly the crops that come next, and no process keeps a state.
"""

import signal
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, get_worker_info

from vaezoo.data.seeds import generator, numbers
from vaezoo.errors import FileError, ImageError
from vaezoo.training.pictures import Pictures, check_size, crop, open_dataset, to_array
from vaezoo.training.recipe_schema import Recipe

MANY_BAD = 100  # pictures in a row


class Crop(NamedTuple):
    """Which crop to make: its number in the run, and its size in pixels."""

    number: int
    size: int


class Batch(NamedTuple):
    """Crops (B, 3, size, size) of uint8, their numbers, and what was wrong with pictures that were skipped."""

    pixels: Tensor
    numbers: list[int]
    bad: list[str]


def size_of(recipe: Recipe, step: int) -> int:
    """Pixels per side of the crops of one step (0 is the first), the same on all ranks."""
    data = recipe.data
    if step >= round(recipe.steps * (1 - data.last)):
        return max(data.sizes)
    return numbers(recipe.seed, "size", step).choice(data.sizes)


def batch_of(recipe: Recipe, size: int) -> int:
    """Crops of that size in the batch of one process."""
    factor = max(recipe.data.sizes) / size
    return int(recipe.batch_size * factor**2) if recipe.data.equal_pixels else recipe.batch_size


class Plan(Sampler[list[Crop]]):
    """The batches of one rank from a step on: `recipe.accumulate` lists of crops for each step.

    Args:
        recipe: Steps, sizes and batches.
        step: Where to begin.
        seen: Crops that all ranks together took before it.
        rank: Which process this is; ranks take neighbouring parts of each batch, so n of them with batch b see what one
            with batch n * b sees.
        ranks: How many there are.
    """

    def __init__(self, recipe: Recipe, step: int = 0, seen: int = 0, rank: int = 0, ranks: int = 1) -> None:
        self.recipe, self.step, self.seen, self.rank, self.ranks = recipe, step, seen, rank, ranks

    def __iter__(self) -> Iterator[list[Crop]]:
        start = self.seen
        for step in range(self.step, self.recipe.steps):
            size = size_of(self.recipe, step)
            batch = batch_of(self.recipe, size)
            for _ in range(self.recipe.accumulate):
                first = start + self.rank * batch
                yield [Crop(number, size) for number in range(first, first + batch)]
                start += batch * self.ranks


class Crops(Dataset):
    """Crops by number, from photos in a new order every epoch.

    Raises:
        ImageError: If a picture is bad and the recipe refuses such, or nearly all are bad.
    """

    def __init__(self, pictures: Pictures, seed: int) -> None:
        self.pictures, self.seed = pictures, seed
        self.order: tuple[int, list[int]] = (-1, [])  # an epoch, and its order
        self.bad: dict[int, str] = {}

    def __getitem__(self, which: Crop) -> tuple[np.ndarray, int, list[str]]:
        draw = numbers(self.seed, "crop", which.number)
        index, bad = self._index(which.number), []
        for _ in range(MANY_BAD):
            if index not in self.bad:
                try:
                    return crop(self.pictures[index], which.size, self.pictures.data, draw), which.number, bad
                except (ImageError, FileError) as error:
                    if self.pictures.data.bad == "refuse":
                        raise
                    self.bad[index] = str(error)
            bad.append(self.bad[index])
            index = draw.randrange(len(self.pictures))
        raise ImageError(f"{MANY_BAD} bad pictures in a row; the last one: {bad[-1]}")

    def make(self, which: Crop) -> np.ndarray:
        """The pixels (size, size, 3) of one crop."""
        return self[which][0]

    def _index(self, number: int) -> int:
        """The photo of a crop: every photo once in an epoch."""
        epoch, position = divmod(number, len(self.pictures))
        if self.order[0] != epoch:
            order = torch.randperm(len(self.pictures), generator=generator(self.seed, "epoch", epoch))
            self.order = epoch, order.tolist()
        return self.order[1][position]


class Stream(IterableDataset):
    """Batches of a data set that has no numbers, such as `wds/`: whatever comes next, cropped by the plan.

    Such a data set shares its parts among ranks and workers itself. A resumed run draws a new order of it.
    """

    def __init__(self, recipe: Recipe, plan: Plan) -> None:
        self.recipe, self.plan = recipe, plan

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        mine, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        photos = self._photos()
        for turn, crops in enumerate(self.plan):
            if turn % workers == mine:
                yield collate([self._crop(photos, which) for which in crops])

    def make(self, which: Crop) -> np.ndarray:
        """The pixels (size, size, 3) of one crop; the numbers of a data set without numbers all mean the same photo."""
        return self._crop(self._photos(), which)[0]

    def _crop(self, photos: Iterator[np.ndarray], which: Crop) -> tuple[np.ndarray, int, list[str]]:
        data, bad = self.recipe.data, []
        for _ in range(MANY_BAD):
            try:
                pixels = check_size(next(photos), data, data.dataset)
            except ImageError as error:
                if data.bad == "refuse":
                    raise
                bad.append(str(error))
            else:
                return (
                    crop(pixels, which.size, data, numbers(self.recipe.seed, "crop", which.number)),
                    which.number,
                    bad,
                )
        raise ImageError(f"{MANY_BAD} bad pictures in a row; the last one: {bad[-1]}")

    def _photos(self) -> Iterator[np.ndarray]:
        dataset = open_dataset(self.recipe.data, numbers(self.recipe.seed, "stream", self.plan.seen).getrandbits(31))
        while True:
            for picture, *_ in dataset:
                yield to_array(picture)


def collate(crops: list[tuple[np.ndarray, int, list[str]]]) -> Batch:
    """Crops as one batch."""
    pixels, which, bad = zip(*crops, strict=True)
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    return Batch(images, list(which), sorted({text for texts in bad for text in texts}))


def to_images(pixels: Tensor, device: torch.device, channels_last: bool) -> Tensor:
    """(B, 3, H, W) of uint8 -> float32 in [-1, 1] on `device`."""
    images = pixels.to(device, non_blocking=True).float() / 127.5 - 1
    return images.to(memory_format=torch.channels_last) if channels_last else images


def leave_signals_alone(worker: int) -> None:
    """SIGTERM and Ctrl-C are for the process that trains; workers, who get them too, read on until it ends them."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def make_loader(recipe: Recipe, plan: Plan, pin_memory: bool = False) -> DataLoader:
    """The batches of a plan.

    Raises:
        FileError: If there are no photos.
        InputError: If timm cannot read such a data set.
    """
    dataset = open_dataset(recipe.data, recipe.seed)
    common = {
        "num_workers": recipe.data.workers,
        "pin_memory": pin_memory,
        "worker_init_fn": leave_signals_alone,
        "generator": torch.Generator(),  # else the loader would draw from the one that resuming restores
    }
    if isinstance(dataset, IterableDataset):
        return DataLoader(Stream(recipe, plan), batch_size=None, **common)
    crops = Crops(Pictures(recipe.data, dataset), recipe.seed)
    return DataLoader(crops, batch_sampler=plan, collate_fn=collate, **common)
