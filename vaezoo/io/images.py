"""Picture files, PIL pictures and numpy arrays, to and from tensors in [-1, 1].

A picture is first made plain, RGB or 16-bit grey: over white where transparent, colour profiles not applied. Only JPEG,
PNG and WebP files are ever opened.
"""

import contextlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from vaezoo.errors import FileError, ImageError, InputError
from vaezoo.io.files import opened, replacing

# What Pillow raises on a damaged file. A warning is raised only where the program turned warnings into errors.
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Warning)
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # and 16-bit grey, which has several names
TURNS = {  # EXIF orientation -> what makes it upright; ImageOps.exif_transpose fails on odd tags beside it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
JPEG = {"format": "JPEG", "quality": 95, "subsampling": 0}  # 0 is 4:4:4
WRITERS = {".png": {"format": "PNG"}, ".jpg": JPEG, ".jpeg": JPEG, ".webp": {"format": "WEBP", "lossless": True}}
SUFFIXES = tuple(WRITERS)


def read_picture(path: str | Path) -> Image.Image:
    """The picture in a JPEG, PNG or WebP file, upright: mode "RGB", or "I;16" (0 to 65535) for a 16-bit grey PNG.

    EXIF rotation is applied, transparency is composited over white, and metadata is left behind. Of a JPEG that holds
    further pictures (phones keep depth and gain maps there) this is the first one.

    Raises:
        FileError: If the path is missing, a folder or not readable.
        ImageError: If the file is empty, of another format, damaged, cut off, animated or too large to be safe.
    """
    with opened(path) as file:
        return decode_picture(file, path)


def decode_picture(file: BinaryIO, path: str | Path) -> Image.Image:
    """The picture in an open file, as `read_picture` gives it; `path` is its name in errors."""
    with _decoding(path):
        if not file.read(1):
            raise ImageError(f"{path}: empty (0 bytes); copy or download it again")
        file.seek(0)
        picture = Image.open(file, formats=("JPEG", "PNG", "WEBP"))
        pixels, limit = picture.width * picture.height, Image.MAX_IMAGE_PIXELS
        if limit and pixels > limit:  # Pillow only warns up to twice the limit
            raise Image.DecompressionBombError(f"{pixels} pixels, the limit is {limit}")
        frames = getattr(picture, "n_frames", 1)
        if frames > 1 and picture.format != "MPO":
            raise ImageError(f"{path}: an animation of {frames} frames; save the frame you want as a picture")
        turn = TURNS.get(picture.getexif().get(ExifTags.Base.Orientation))
        picture = _plain(picture if turn is None else picture.transpose(turn))
        picture.info.clear()  # with the EXIF tag, so that nobody turns it a second time
        return picture


def load_image(path: str | Path) -> Tensor:
    """A JPEG, PNG or WebP file as `read_picture` reads it -> RGB of shape (1, 3, H, W), float32 in [-1, 1]."""
    return to_tensor(read_picture(path))


def to_tensor(picture: Image.Image | np.ndarray | Sequence[Image.Image | np.ndarray]) -> Tensor:
    """A PIL picture or numpy array -> RGB of shape (1, 3, H, W), float32 in [-1, 1]; B of them -> (B, 3, H, W).

    Black becomes -1 and white 1: an 8-bit value k is k / 127.5 - 1, a 16-bit value k / 32767.5 - 1.

    Args:
        picture: A PIL picture (taken as it lies: only `read_picture` looks at EXIF rotation), or an array of shape
            (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16 or floating values in [0, 1], whose fourth
            channel is opacity, composited over white. Or a list or tuple of them, all of one size.

    Raises:
        InputError: If the type, mode, shape, dtype or range is another, or the sizes differ.
    """
    if isinstance(picture, list | tuple):
        return _batch([to_tensor(each) for each in picture])
    unit = _unit(np.asarray(_plain(picture)) if isinstance(picture, Image.Image) else picture)  # (H, W, C) in [0, 1]
    if unit.shape[2] == 4:
        unit = unit[..., :3] * unit[..., 3:] + (1 - unit[..., 3:])
    channels = torch.from_numpy(unit).permute(2, 0, 1) * 2 - 1
    return channels.expand(1, 3, -1, -1).contiguous()  # grey becomes three equal channels


def to_pil(images: Tensor) -> Image.Image:
    """One image of shape (3, H, W) or (1, 3, H, W), floating, in [-1, 1] -> RGB picture, rounded to the nearest 8 bits.

    Values beyond [-1, 1] are clamped. `to_tensor` gives exactly the 8-bit values back.

    Raises:
        InputError: If there is more than one image, the shape or dtype is another, or a value is not finite.
    """
    levels = ((one_image(images).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())


def save_picture(images: Tensor, path: str | Path) -> None:
    """Write one image, as `to_pil` takes it, to a .png, .jpg (quality 95, 4:4:4) or .webp (lossless) file.

    Raises:
        InputError: If the image or the suffix is another, or the picture is larger than WebP can be.
        FileError: If the path cannot be written; what was there before is kept.
    """
    writer = WRITERS[check_picture_path(path).suffix.lower()]
    picture = to_pil(images)
    try:
        with replacing(path) as temporary:
            picture.save(temporary, **writer)
    except ValueError as error:
        raise InputError(f"{path}: {picture.width} x {picture.height} pixels ({error}); save it as .png") from error


def check_picture_path(path: str | Path) -> Path:
    """`path` if a picture can be written there; to be asked before long work, not after it.

    Raises:
        InputError: If its suffix is none of `SUFFIXES`.
        FileError: If its folder does not exist.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise InputError(f"{path}: the suffix chooses the format; end the name in .png, .jpg or .webp")
    if not path.parent.is_dir():
        raise FileError(f"{path}: cannot be written (there is no folder {path.parent})")
    return path


def resize_and_crop(picture: Image.Image, size: int) -> Image.Image:
    """The central square of a picture as size x size pixels, by Lanczos (antialiased); "RGB" or "I;16".

    That is to bring the shorter side to `size` and crop the longer one, without rounding its length in between.

    Raises:
        InputError: If the mode is not one that `to_tensor` takes, or `size` is not a whole number of at least 1.
    """
    _check_count("size", size)
    picture = _plain(picture)
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    wide = picture.convert("I") if picture.mode == "I;16" else picture  # Pillow resizes "I;16" only since version 11
    square = wide.resize((size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    return square.convert(picture.mode)


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """(B, C, H, W) -> (B, C, H', W'), the next multiples of `multiple` pixels; `images` itself if it fits already.

    The right and the bottom are filled by reflection without repeating the edge, again and again where the image is
    small; `[..., :H, :W]` crops it back.

    Raises:
        InputError: If the shape is another, or `multiple` is not a whole number of at least 1.
    """
    _check_count("multiple", multiple)
    if images.ndim != 4 or 0 in images.shape[2:]:
        raise InputError(f"images of shape {tuple(images.shape)}; expected (B, C, H, W)")
    for dim in (2, 3):
        length = images.shape[dim]
        if missing := -length % multiple:  # F.pad cannot reflect beyond the far edge
            steps = torch.arange(length + missing, device=images.device) % max(2 * (length - 1), 1)
            images = images.index_select(dim, torch.minimum(steps, 2 * (length - 1) - steps))
    return images


def one_image(images: Tensor) -> Tensor:
    """One image, (3, H, W) or (1, 3, H, W), floating -> (3, H, W), float32 on the CPU.

    Raises:
        InputError: If there is more than one image, the shape or dtype is another, or a value is not finite.
    """
    shape = tuple(images.shape)
    if len(shape) == 4 and shape[0] > 1:
        raise InputError(f"a batch of {shape[0]} images where one is expected; pass images[i]")
    if shape[-3:-2] != (3,) or len(shape) > 4 or images.numel() == 0 or not images.is_floating_point():
        raise InputError(f"a tensor of shape {shape} and {images.dtype}; expected floating (3, H, W) or (1, 3, H, W)")
    image = images.detach().to("cpu", torch.float32).reshape(shape[-3:])
    if not image.isfinite().all():
        raise InputError("an image with NaN or infinite values; look for where they arise before writing it")
    return image


@contextlib.contextmanager
def _decoding(path: str | Path) -> Iterator[None]:
    """Whatever Pillow says about a file -> ImageError that begins with its path."""
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        hint = "reduce it, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust it"
        raise ImageError(f"{path}: too large to be safe ({error}); {hint}") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not a JPEG, PNG or WebP picture; convert it, or copy it again if cut off") from error
    except DAMAGE as error:
        raise ImageError(f"{path}: damaged or cut off ({error}); copy or download it again") from error


def _plain(picture: Image.Image) -> Image.Image:
    """Any picture -> mode "RGB", or "I;16" if it was 16-bit grey (whose name differs between Pillow versions)."""
    if picture.mode.startswith("I"):
        return _plain_16(picture)
    if picture.mode not in MODES:
        raise InputError(f"a PIL picture of mode {picture.mode}; expected {', '.join(MODES)}, I;16; see Image.convert")
    if picture.mode in ("LA", "P", "PA", "RGBA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def _plain_16(picture: Image.Image) -> Image.Image:
    grey = np.array(picture)
    if "transparency" in picture.info:  # the one value that is not shown; Pillow has no alpha for 16 bits
        grey[grey == picture.info["transparency"]] = 65535
    if grey.size and (grey.min() < 0 or grey.max() > 65535):
        raise InputError(f"a PIL picture of mode I with values from {grey.min()} to {grey.max()}; expected 0 to 65535")
    return Image.fromarray(grey.astype(np.uint16))


def _unit(array: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, C) -> (H, W, C), float32 in [0, 1], a copy."""
    if not isinstance(array, np.ndarray):
        raise InputError(f"expected a PIL picture or numpy array, got {type(array).__name__}; load_image takes paths")
    if array.ndim not in (2, 3) or array.size == 0 or array.shape[2:] not in ((), (1,), (3,), (4,)):
        raise InputError(f"an array of shape {array.shape}; expected (H, W) or (H, W, 1, 3 or 4), several in a list")
    if array.dtype.name in ("uint8", "uint16"):
        white = np.iinfo(array.dtype).max
    elif np.issubdtype(array.dtype, np.floating):
        white = 1
        if not (array.min() >= 0 and array.max() <= 1):  # NaN fails both
            raise InputError(f"an array of values from {array.min()} to {array.max()}; floating ones must be in [0, 1]")
    else:
        raise InputError(f"an array of {array.dtype}; expected uint8, uint16 or floating values, see array.astype")
    return np.array(array.reshape(*array.shape[:2], -1), dtype=np.float32, order="C") / np.float32(white)


def _batch(tensors: list[Tensor]) -> Tensor:
    sizes = {tuple(each.shape[2:]) for each in tensors}
    if len(sizes) != 1:
        raise InputError(f"pictures of sizes (H, W) {sorted(sizes)}; expected one or more of one size")
    return torch.cat(tensors)


def _check_count(name: str, value: int) -> None:
    if not isinstance(value, int) or value < 1:
        raise InputError(f"{name}={value!r}; expected a whole number of at least 1")
