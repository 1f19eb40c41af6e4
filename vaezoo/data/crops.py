"""Random crops of photos, each a function of the settings, the seed and the number of the crop only.

Crops are numbered over the whole run and all processes. Photo, position and all changes of a crop follow from its
number, so a run that is resumed, or continued with another number of processes, sees exactly the crops that come next,
and no process has a state to save.
"""

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from vaezoo.data.augment import draw_augmentation
from vaezoo.data.cache import PhotoCache, check_size, to_array
from vaezoo.data.photos import Photo
from vaezoo.data.random_crop import random_crop
from vaezoo.data.seeds import generator, numbers
from vaezoo.data.settings import DataConfig
from vaezoo.errors import FileError, ImageError

MAX_BAD_IN_A_ROW = 100  # of a stream
SAMPLED = 20  # photos of other sources that are read before the first step


class Crop(NamedTuple):
    """A crop to make.

    Args:
        number: Number in the run, from 0.
        size: Pixels per side.
        augment: Whether `data.augment` applies.
    """

    number: int
    size: int
    augment: bool = True


class CropResult(NamedTuple):
    """A crop that was made.

    Args:
        pixels: Array of shape (size, size, 3), uint8.
        number: Number of the crop.
        bad: Messages about the bad pictures that were skipped on the way.
    """

    pixels: np.ndarray
    number: int
    bad: list[str]


class Batch(NamedTuple):
    """A batch of crops.

    Args:
        pixels: Tensor of shape (B, 3, size, size), uint8.
        numbers: Number of each crop.
        bad: Messages about bad pictures that were skipped, without duplicates.
    """

    pixels: Tensor
    numbers: list[int]
    bad: list[str]


class CropDataset(Dataset[CropResult]):
    """Crops by number; every photo is used once in an epoch, in an order that is drawn anew for each epoch.

    Args:
        data: Source of the photos and settings of the crops.
        seed: Seed of the run.

    Raises:
        FileError: If the source does not exist, cannot be opened or holds no photos.
    """

    def __init__(self, data: DataConfig, seed: int) -> None:
        self.data, self.seed = data, seed
        self.photos = PhotoCache(data)
        self.order: tuple[int, list[int]] = (-1, [])  # an epoch, and its order
        self.bad: dict[int, str] = {}

    def __getitem__(self, crop: Crop) -> CropResult:
        return self.make(crop)

    def make(self, crop: Crop) -> CropResult:
        """Make a crop; raises the errors of `make_crop`, and `FileError` if all are bad or one cannot be read."""
        draw = numbers(self.seed, "crop", crop.number)
        candidates = self._candidates(crop.number, draw)
        limit = len(self.photos) + 1
        return make_crop(crop, self.data, self.seed, draw, lambda: self._photo(next(candidates)), limit)

    def _candidates(self, number: int, draw: random.Random) -> Iterator[int]:
        """The photo of a crop, then random ones to replace it if it is bad."""
        epoch, position = divmod(number, len(self.photos))
        if self.order[0] != epoch:
            order = torch.randperm(len(self.photos), generator=generator(self.seed, "epoch", epoch))
            self.order = epoch, order.tolist()
        yield self.order[1][position]
        while len(self.bad) < len(self.photos):
            index = draw.randrange(len(self.photos))
            if index not in self.bad:  # drawn in any case, so a resumed run, which knows none yet, finds the same
                yield index
        raise FileError(f"all {len(self.photos)} photos are bad, the first: {min(self.bad.values())}")

    def find_bad_share(self) -> str | None:
        """Read up to 20 photos, drawn by the seed, and return a warning if more than half of them are bad."""
        if self.data.bad == "refuse":
            return None
        count = min(SAMPLED, len(self.photos))
        for index in numbers(self.seed, "sampled photos").sample(range(len(self.photos)), count):
            with contextlib.suppress(ImageError):
                self._photo(index)
        text = f"{len(self.bad)} of {count} sampled photos are bad and will be replaced by others; remove them"
        return f"{text}. The first: {min(self.bad.values())}" if len(self.bad) > count / 2 else None

    def _photo(self, index: int) -> np.ndarray:
        if index in self.bad:
            raise ImageError(self.bad[index])
        try:
            return self.photos[index]
        except (ImageError, FileError) as error:
            if self.data.bad == "refuse":
                raise
            self.bad[index] = str(error)
            raise ImageError(self.bad[index]) from error


class CropStream(IterableDataset[Batch]):
    """Batches of crops of a streamed dataset: the photos in the order in which they arrive, cropped by the sampler.

    The dataset itself distributes its shards over processes and workers. A resumed run reads it in a new order.

    Args:
        data: Source of the photos and settings of the crops.
        seed: Seed of the run.
        batches: Crops of each batch.
        seen: Number of crops before the first batch, which changes the order of the stream.

    Raises:
        FileError: If timm cannot open the dataset.
    """

    def __init__(self, data: DataConfig, seed: int, batches: Iterable[list[Crop]], seen: int) -> None:
        self.data, self.seed, self.batches, self.seen = data, seed, batches, seen

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        mine, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        photos = self._photos()
        for turn, crops in enumerate(self.batches):
            if turn % workers == mine:
                yield collate([self._crop(photos, crop) for crop in crops])

    def find_bad_share(self) -> None:
        """Return `None`: a stream has no photos to sample before the first step."""

    def make(self, crop: Crop) -> CropResult:
        """Make a crop of the first usable photo of the stream, whatever its number."""
        return self._crop(self._photos(), crop)

    def _photos(self) -> Iterator[Photo]:
        return self.data.stream(numbers(self.seed, "stream", self.seen).getrandbits(31))

    def _crop(self, photos: Iterator[Photo], crop: Crop) -> CropResult:
        def read() -> np.ndarray:
            photo = next(photos)
            pixels = to_array(photo.read())
            check_size(pixels, self.data, photo.location)
            return pixels

        draw = numbers(self.seed, "crop", crop.number)
        return make_crop(crop, self.data, self.seed, draw, read, MAX_BAD_IN_A_ROW)


def make_crop(
    crop: Crop, data: DataConfig, seed: int, draw: random.Random, read: Callable[[], np.ndarray], limit: int
) -> CropResult:
    """Crop the first usable photo.

    Args:
        crop: Which crop to make.
        data: Settings of the crops.
        seed: Seed of the run.
        draw: Random numbers of this crop.
        read: Function that returns the next candidate, a photo of shape (H, W, 3), or raises `ImageError`.
        limit: Number of bad pictures in a row that is an error.

    Raises:
        ImageError: If a picture is bad and `data.bad` is "refuse", or `limit` bad pictures come in a row.
    """
    bad: list[str] = []
    changes = None
    if data.augment and crop.augment:  # by random numbers of its own, so that the square is the same without it
        changes = draw_augmentation(data.augment, numbers(seed, "augment", crop.number))
    while len(bad) < limit:
        try:
            return CropResult(random_crop(read(), crop.size, data, draw, changes), crop.number, bad)
        except ImageError as error:
            if data.bad == "refuse":
                raise
            bad.append(str(error))
    raise ImageError(f"{limit} bad pictures in a row; the last one: {bad[-1]}")


def collate(crops: Sequence[CropResult]) -> Batch:
    """Stack crops of one size to a batch."""
    pixels, which, bad = zip(*crops, strict=True)
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    return Batch(images, list(which), sorted({text for texts in bad for text in texts}))


def to_images(pixels: Tensor, device: torch.device, channels_last: bool = False) -> Tensor:
    """Convert a batch of pixels to images.

    Args:
        pixels: Tensor of shape (B, 3, H, W), uint8.
        device: Device of the result.
        channels_last: Whether the result has the channels-last memory format.

    Returns:
        Images of shape (B, 3, H, W), float32 in [-1, 1].
    """
    images = pixels.to(device, non_blocking=True).float() / 127.5 - 1
    return images.to(memory_format=torch.channels_last) if channels_last else images
