"""Photos of a data set, decoded by our own rules and kept within a limit, and the crops that are made of them."""

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from timm.data import create_dataset
from timm.data.dataset import ImageDataset

from vaezoo.errors import FileError, ImageError, InputError, VaezooError
from vaezoo.io.images import SUFFIXES, decode_picture
from vaezoo.specs.catalog import data_dir
from vaezoo.training.recipe_schema import DataConfig

MIB = 2**20


class Pictures:
    """Photos by number: (H, W, 3) of uint8, upright, over white, 16-bit grey reduced to 8 bits.

    What was decoded first is kept, up to `data.cache` MiB: photos are visited in ever new orders, and a cache that
    forgot the oldest would have forgotten each before it is asked for again.

    Args:
        data: How large they must be, and how much is kept.
        dataset: What `open_dataset` gave.
    """

    def __init__(self, data: DataConfig, dataset: Any) -> None:
        self.data, self.dataset = data, dataset
        self.kept: dict[int, np.ndarray] = {}
        self.room = data.cache * MIB

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> np.ndarray:
        """The photo of that number.

        Raises:
            ImageError: If it is damaged, animated, too large to be safe, or too small for the largest crop.
            FileError: If it cannot be read.
        """
        if index in self.kept:
            return self.kept[index]
        pixels = check_size(self._decoded(index), self.data, self.name(index))
        if pixels.nbytes <= self.room:
            self.room -= pixels.nbytes
            self.kept[index] = pixels
        return pixels

    def name(self, index: int) -> str:
        """What to call a photo in messages: its path, where it has one."""
        if not isinstance(self.dataset, ImageDataset):
            return f"{self.data.dataset} {index}"
        return self.dataset.filename(index, absolute=True)

    def _decoded(self, index: int) -> np.ndarray:
        name = self.name(index)
        try:
            if not isinstance(self.dataset, ImageDataset):
                return to_array(self.dataset[index][0])
            if Path(name).is_fifo():  # opening it would wait for ever
                raise FileError(f"{name}: a pipe and no photo; remove it")
            # past the data set's own __getitem__, which puts another photo in the place of a bad one
            file, *_ = self.dataset.reader[index]
            with file:
                return to_array(decode_picture(file, name))
        except VaezooError:
            raise
        except (OSError, Image.DecompressionBombError) as error:
            raise FileError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def open_dataset(data: DataConfig, seed: int = 0) -> Any:
    """What `timm.data.create_dataset` makes of the recipe's data.

    Raises:
        FileError: If there is no such folder or file, or no photo in it.
        InputError: If timm cannot read such a data set.
    """
    root = str(data_dir("configs") / "samples") if data.root is None and not data.dataset else data.root
    options: dict[str, Any] = {"is_training": True, "seed": seed} if data.dataset else {}
    if not data.dataset:
        if not Path(root).exists():
            raise FileError(f"data.root {root}: no such folder or file; set it with --set data.root=FOLDER")
        options |= {"cache_tarinfo": False} if root.endswith(".tar") else {"input_key": ";".join(SUFFIXES)}
    try:
        return create_dataset(data.dataset, root=root, split=data.split, **options)
    except RuntimeError as error:  # timm's word for an empty folder
        raise FileError(f"data.root {root}: {error}") from error
    except ImportError as error:
        raise InputError(
            f"data.dataset {data.dataset}: {error}; install the package that timm reads it with"
        ) from error
    except (AssertionError, ValueError, OSError) as error:
        raise InputError(f"data.dataset {data.dataset!r}, root {root}: timm cannot read it ({error})") from error


def to_array(picture: Image.Image) -> np.ndarray:
    """A picture as `decode_picture` gives it, or RGB -> (H, W, 3) of uint8."""
    if picture.mode == "RGB":
        return np.asarray(picture)
    if picture.mode.startswith("I"):
        grey = (np.asarray(picture).astype(np.uint32) + 128) // 257
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    return np.asarray(picture.convert("RGB"))


def check_size(pixels: np.ndarray, data: DataConfig, name: str) -> np.ndarray:
    """`pixels` if the largest crop fits in; raises `ImageError` otherwise."""
    needed = math.ceil(max(data.sizes) * data.scale[0])
    height, width = pixels.shape[:2]
    if min(height, width) < needed:
        raise ImageError(
            f"{name}: {width} x {height} pixels, too small for a crop of {max(data.sizes)} "
            f"at a scale of {data.scale[0]:g}, which takes {needed}"
        )
    return pixels


def crop(pixels: np.ndarray, size: int, data: DataConfig, draw: random.Random) -> np.ndarray:
    """A random square of a photo (H, W, 3), reduced by Lanczos (antialiased) -> (size, size, 3) of uint8.

    Args:
        pixels: The photo.
        size: Pixels per side of the crop.
        data: Its `scale` says how many pixels of the photo go into one of the crop, its `flip` whether to mirror.
        draw: Where the randomness comes from.
    """
    height, width = pixels.shape[:2]
    low, high = data.scale
    most = max(low, min(high, min(height, width) / size))
    factor = math.exp(draw.uniform(math.log(low), math.log(most)))
    side = min(max(round(size * factor), 1), height, width)
    top, left = draw.randint(0, height - side), draw.randint(0, width - side)
    square = pixels[top : top + side, left : left + side]
    if side != size:
        square = np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.LANCZOS))
    return square[:, ::-1] if data.flip and draw.random() < 0.5 else square
