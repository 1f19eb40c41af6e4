"""Decodes JPEG, PNG and WebP files, and no others, to plain Pillow images."""

import contextlib
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, UnidentifiedImageError

from vaezoo.errors import ImageError
from vaezoo.io.color_profile import to_srgb
from vaezoo.io.files import opened
from vaezoo.io.picture_parts import Info, take_apart
from vaezoo.io.pixels import to_plain_mode
from vaezoo.out_of_memory import enough_memory

# Raised by Pillow on a damaged file; warnings only if the program made them errors.
DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Warning),
    *(LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, RuntimeError),
)
LARGEST_PIXEL = 16  # bytes; files with more per pixel than Pillow's limit allows are no pictures
TURNS = {  # by EXIF orientation; ImageOps.exif_transpose fails on invalid tags beside it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height


def read_picture(path: str | Path) -> Image.Image:
    """Read a JPEG, PNG or WebP file as a picture of mode "RGB", or "I;16" (0 to 65535) for a 16-bit gray PNG.

    EXIF rotation is applied, colors are converted to sRGB (`vaezoo.io.color_profile`), transparency is composited over
    white, and metadata is dropped; damaged metadata is ignored. If a JPEG has more than one picture (phones append
    depth and gain maps), the first one is read.

    Args:
        path: The file.

    Raises:
        FileError: If the path is missing, a folder or not readable.
        ImageError: If the file is empty, of another format, damaged, truncated, animated, or has more pixels than
            `PIL.Image.MAX_IMAGE_PIXELS`.
        OutOfMemoryError: If there is not enough memory for its pixels.
    """
    with opened(path) as file:
        return decode_picture(file, path)


def decode_picture(file: BinaryIO, path: str | Path) -> Image.Image:
    """Decode the picture in an open file, as `read_picture` does.

    Args:
        file: A seekable file, opened for reading bytes.
        path: Its name in error messages.

    Raises:
        ImageError: As for `read_picture`.
        OutOfMemoryError: As for `read_picture`.
    """
    picture, info = _opened_picture(file, path)
    with enough_memory(lambda: f"{path}: {picture.width} x {picture.height} pixels", "make a smaller copy of it"):
        return _plain(picture, info, path)


def picture_size(file: BinaryIO, path: str | Path) -> tuple[int, int]:
    """Return width and height of the picture in an open file, upright by EXIF, without decoding its pixels.

    Args:
        file: A seekable file, opened for reading bytes.
        path: Its name in error messages.

    Raises:
        ImageError: As for `read_picture`; damaged pixels are not noticed.
        OutOfMemoryError: As for `read_picture`.
    """
    picture, info = _opened_picture(file, path)
    width, height = picture.size
    return (height, width) if _orientation(info) in SIDEWAYS else (width, height)


def _opened_picture(file: BinaryIO, path: str | Path) -> tuple[Image.Image, Info]:
    """Open a picture without decoding it; returns its metadata, too."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if not size:
        raise ImageError(f"{path}: empty (0 bytes); copy or download it again")
    limit = Image.MAX_IMAGE_PIXELS
    if limit and size > LARGEST_PIXEL * limit:
        raise _too_large(path, f"a file of {size} bytes for at most {limit} pixels")
    with enough_memory(lambda: f"{path}: a picture file of {size} bytes", "make a smaller copy of it"):
        parts = take_apart(file)
        with _decoding(path):
            picture: Image.Image = Image.open(parts.pixels, formats=("JPEG", "PNG", "WEBP"))
    pixels = picture.width * picture.height
    if limit and pixels > limit:  # Pillow only warns up to twice the limit
        raise _too_large(path, f"{pixels} pixels, the limit is {limit}")
    frames = max(parts.frames, getattr(picture, "n_frames", 1))
    if frames > 1:
        raise ImageError(f"{path}: an animation of {frames} frames; save one frame as a picture")
    return picture, parts.info


def _plain(picture: Image.Image, info: Info, path: str | Path) -> Image.Image:
    """Decode the pixels of an opened picture, and apply its metadata."""
    with _decoding(path):
        picture.load()
    turn = TURNS.get(_orientation(info))
    picture = picture if turn is None else picture.transpose(turn)
    picture = to_plain_mode(to_srgb(picture, info.get("icc_profile")))
    picture.info.clear()
    return picture


def _orientation(info: Info) -> int:
    """Return the EXIF orientation, or 1 (upright) if the EXIF data is damaged: it says nothing about the pixels."""
    holder = Image.new("1", (1, 1))
    holder.info = info
    try:
        return int(holder.getexif().get(ExifTags.Base.Orientation, 1))
    except DAMAGE:
        return 1


def _too_large(path: str | Path, reason: object) -> ImageError:
    hint = "reduce it, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust it"
    return ImageError(f"{path}: too large to be safe ({reason}); {hint}")


@contextlib.contextmanager
def _decoding(path: str | Path) -> Iterator[None]:
    """Turn the errors of Pillow into an `ImageError` that names the file; the block has nothing but calls of Pillow."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path, error) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not a JPEG, PNG or WebP picture; convert it, or copy it again if cut off") from error
    except DAMAGE as error:
        raise ImageError(f"{path}: damaged or cut off ({error}); copy or download it again") from error
