"""The `data` section of a recipe: where photos come from, and which crops are made of them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from vaezoo.data.photo_source import INDEXED, STREAMED
from vaezoo.data.photos import Photo, photo_stream, photos
from vaezoo.data.timm_datasets import open_dataset
from vaezoo.errors import FileError
from vaezoo.specs.marks import Between, Items

DATASETS = (*INDEXED, *STREAMED)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Random changes of crops. Each is drawn uniformly for each crop, from -x to x for a number x.

    Args:
        rotate: Rotation about the center of the crop, in degrees; less where the photo has no pixels for the corners.
        flip_vertical: Whether to flip half of the crops vertically.
        quarter_turns: Whether to rotate crops by 0, 90, 180 or 270 degrees.
        exposure: Brightness in stops: linear light is multiplied by 2 ** x.
        white_balance: Red and blue, each for itself, against green, in stops.
        gamma: Exponent 2 ** x of the sRGB values from 0 to 1.
        saturation: Factor 1 + x of the color differences.
        hue: Rotation of the color differences, in degrees.
    """

    rotate: Annotated[float, Between(0.0, 45.0)] = 0.0
    flip_vertical: bool = False
    quarter_turns: bool = False
    exposure: Annotated[float, Between(0.0, 4.0)] = 0.0
    white_balance: Annotated[float, Between(0.0, 2.0)] = 0.0
    gamma: Annotated[float, Between(0.0, 2.0)] = 0.0
    saturation: Annotated[float, Between(0.0, 1.0)] = 0.0
    hue: Annotated[float, Between(0.0, 180.0)] = 0.0


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Photos, and the crops that are made of them.

    Args:
        root: Folder or .tar file of photos; `None` means the sample photos of the package. With `dataset`, the folder
            in which the dataset is stored.
        dataset: Name of a timm dataset, such as `hfds/org/name` or `wds/name`; empty for a folder or .tar file.
        split: Split of the dataset; of a folder, the subfolder of that name if there is one.
        sizes: Pixels per side of the crops; every step draws one of these sizes.
        last: Fraction of the steps, at the end, that use the largest size only.
        equal_pixels: Whether batches of smaller crops are larger, with as many pixels as `batch_size` crops of the
            largest size.
        scale: Smallest and largest number of photo pixels per crop pixel and side; drawn log-uniformly, and resized
            with antialiasing. A photo that is too small for the largest crop at the smallest scale is a bad picture.
        flip: Whether to mirror half of the crops.
        augment: Further random changes of the crops; `None` means none.
        bad: What to do with a picture that is damaged, animated, too small or too large: "skip" and count it, or
            "refuse" it with an error that names its path.
        workers: Number of processes that read photos; 0 reads them in the training process, between the steps.
        cache: Decoded photos that each of these processes keeps, in MiB.
    """

    root: str | None = None
    dataset: str = ""
    split: str = "train"
    sizes: Annotated[tuple[Annotated[int, Between(8, 4096)], ...], Items(1)]
    last: Annotated[float, Between(0.0, 1.0)] = 0.0
    equal_pixels: bool = False
    scale: Annotated[tuple[Annotated[float, Between(0.1, 100.0)], ...], Items(2, 2)] = (1.0, 2.0)
    flip: bool = True
    augment: AugmentConfig | None = field(default=None, metadata={"omit": None})
    bad: Literal["skip", "refuse"] = "skip"
    workers: Annotated[int, Between(0, 256)] = 0
    cache: Annotated[int, Between(0, 1_000_000)] = 1024

    def find_faults(self) -> Iterator[tuple[str, str]]:
        """Yield the faults between keys."""
        if self.dataset and not self.dataset.startswith(DATASETS):
            yield "dataset", f"expected {', '.join(DATASETS)} and a name; a folder or a .tar is data.root"
        if self.scale[0] > self.scale[1]:
            yield "scale", "expected two numbers, from and to, such as [1, 2]"

    @property
    def streamed(self) -> bool:
        """Whether the photos have no index and can only be iterated over."""
        return self.dataset.startswith(STREAMED)

    def photos(self) -> list[Photo]:
        """List the photos, sorted by path with numbers in numeric order: "2.png" before "10.png".

        Raises:
            FileError: If the source does not exist, cannot be opened or holds no photos.
        """
        try:
            found = photos(self.dataset, self.split, self.root) if self.dataset else photos(self.root, self.split)
        except FileError as error:
            key = "dataset" if self.dataset else "root"
            raise FileError(f"data.{key} {error}; set it with --set data.{key}=...") from error
        return sorted(found, key=lambda photo: _natural(photo.name))

    def check_source(self) -> None:
        """Raise `FileError` if the source does not exist, cannot be opened or holds no photos."""
        if self.streamed:
            open_dataset(self.dataset, self.root, self.split)
        else:
            self.photos()

    def stream(self, seed: int) -> Iterator[Photo]:
        """Iterate over the photos of a streamed dataset, as `vaezoo.data.photos.photo_stream` does."""
        return photo_stream(self.dataset, self.split, self.root, seed)


def _natural(name: str) -> list[int | str]:
    """Sorting key with numbers in numeric order, as `timm.utils.misc.natural_key`, whose import takes seconds."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name.lower())]
