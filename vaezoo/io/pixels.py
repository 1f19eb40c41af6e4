"""Pillow modes and numpy dtypes of images, brought to a few plain ones."""

from typing import Any

import numpy as np
from PIL import Image

from vaezoo.errors import InputError

Array = np.ndarray[Any, Any]
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # and 16-bit gray, which has several names
# RGB -> luma and color differences (ITU-R BT.601, full range)
COLORS = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def to_plain_mode(picture: Image.Image) -> Image.Image:
    """Convert a picture to mode "RGB", or "I;16" if it is 16-bit gray, composited over white if it has transparency.

    Raises:
        InputError: If the mode is not supported, or 32-bit values are not from 0 to 65535.
    """
    if picture.mode.startswith("I"):
        return _plain_16_bit(picture)
    if picture.mode not in MODES:
        raise InputError(f"a PIL picture of mode {picture.mode}; expected {', '.join(MODES)}, I;16; see Image.convert")
    if has_opacity(picture):
        picture = _in_mode(picture, "RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return _in_mode(picture, "RGB")


def has_opacity(picture: Image.Image) -> bool:
    """Return whether pixels of a picture, other than one of 16-bit gray, may be transparent."""
    return picture.mode in ("LA", "P", "PA", "RGBA") or "transparency" in picture.info


def _in_mode(picture: Image.Image, mode: str) -> Image.Image:
    """Convert a picture without the copy that `convert` makes of one that needs no conversion."""
    return picture if picture.mode == mode and "transparency" not in picture.info else picture.convert(mode)


def _plain_16_bit(picture: Image.Image) -> Image.Image:
    gray = np.array(picture)
    if "transparency" in picture.info:  # the one transparent value; Pillow has no alpha channel for 16 bits
        gray[gray == picture.info["transparency"]] = 65535
    if gray.size and (gray.min() < 0 or gray.max() > 65535):
        raise InputError(f"a PIL picture of mode I with values from {gray.min()} to {gray.max()}; expected 0 to 65535")
    return Image.fromarray(gray.astype(np.uint16))


def to_levels(array: object) -> tuple[Array, int]:
    """Return an array of shape (H, W) or (H, W, C) as one of shape (H, W, C), and its value of white.

    White is 255 or 65535 in arrays of unsigned integers, and 1 in floating ones.

    Raises:
        InputError: If the type, shape, dtype or range is not supported.
    """
    if not isinstance(array, np.ndarray):
        raise InputError(f"expected a PIL picture or numpy array, got {type(array).__name__}; load_image takes paths")
    if array.ndim not in (2, 3) or array.size == 0 or array.shape[2:] not in ((), (1,), (3,), (4,)):
        raise InputError(f"an array of shape {array.shape}; expected (H, W) or (H, W, 1, 3 or 4), several in a list")
    levels = array.reshape(*array.shape[:2], -1)
    if array.dtype.name in ("uint8", "uint16"):
        return levels, int(np.iinfo(array.dtype).max)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"an array of {array.dtype}; expected uint8, uint16 or floating values, see array.astype")
    if not (array.min() >= 0 and array.max() <= 1):  # NaN fails both
        raise InputError(f"an array of values from {array.min()} to {array.max()}; floating ones must be in [0, 1]")
    return levels, 1
