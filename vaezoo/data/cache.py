"""Decoded photos in memory."""

import math

import numpy as np
from PIL import Image

from vaezoo.data.settings import DataConfig
from vaezoo.errors import ImageError

MIB = 2**20


class PhotoCache:
    """Photos by index, as arrays of shape (H, W, 3), uint8: upright, over white, 16-bit gray reduced to 8 bits.

    The photos that are decoded first are kept, up to `data.cache` MiB, and never evicted: every epoch visits all photos
    in a new order, so a least-recently-used cache would evict most of them before their next use.

    Args:
        data: Source of the photos, smallest allowed size and size of the cache.

    Raises:
        FileError: If the source does not exist, cannot be opened or holds no photos.
    """

    def __init__(self, data: DataConfig) -> None:
        self.data, self.photos = data, data.photos()
        self.kept: dict[int, np.ndarray] = {}
        self.room = data.cache * MIB

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> np.ndarray:
        """Read a photo, or return the one in memory.

        Raises:
            ImageError: If it is damaged, animated, too large to be safe, or too small for the largest crop.
            FileError: If it cannot be read.
        """
        if index in self.kept:
            return self.kept[index]
        photo = self.photos[index]
        pixels = to_array(photo.read())
        check_size(pixels, self.data, photo.location)
        if pixels.nbytes <= self.room:
            self.room -= pixels.nbytes
            self.kept[index] = pixels
        return pixels


def to_array(picture: Image.Image) -> np.ndarray:
    """Convert a picture in RGB, 16-bit gray or another mode that Pillow converts to RGB to (H, W, 3), uint8."""
    if picture.mode == "RGB":
        return np.asarray(picture)
    if picture.mode.startswith("I"):
        gray = (np.asarray(picture).astype(np.uint32) + 128) // 257
        return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)
    return np.asarray(picture.convert("RGB"))


def check_size(pixels: np.ndarray, data: DataConfig, location: str) -> None:
    """Check that the largest crop fits into a photo.

    Args:
        pixels: Photo of shape (H, W, 3).
        data: Sizes and scale of the crops.
        location: File or dataset item, for the message.

    Raises:
        ImageError: If the shorter side is too small.
    """
    needed = math.ceil(max(data.sizes) * data.scale[0])
    height, width = pixels.shape[:2]
    if min(height, width) < needed:
        raise ImageError(
            f"{location}: {width} x {height} pixels, too small for a crop of {max(data.sizes)} "
            f"at a scale of {data.scale[0]:g}, which takes {needed}"
        )
