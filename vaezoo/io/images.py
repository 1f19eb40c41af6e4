"""Image files, Pillow images and numpy arrays, to and from tensors in [-1, 1].

"Picture" means a Pillow image, "image" a tensor. Pictures are first converted to RGB or 16-bit gray: transparency is
composited over white. Color profiles are applied when a file is read (`vaezoo.io.read_image`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaezoo.errors import FileError, InputError
from vaezoo.io.files import replacing
from vaezoo.io.pixels import Array, to_levels, to_plain_mode
from vaezoo.io.read_image import read_picture
from vaezoo.out_of_memory import enough_memory

JPEG = {"format": "JPEG", "quality": 95, "subsampling": 0}  # 0 is 4:4:4
WRITERS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".webp": {"format": "WEBP", "lossless": True},
}
SUFFIXES = tuple(WRITERS)


def load_image(path: str | Path) -> Tensor:
    """Load a JPEG, PNG or WebP file as a tensor: upright by EXIF, in sRGB, transparency composited over white.

    Args:
        path: The file.

    Returns:
        RGB image of shape (1, 3, H, W), float32 in [-1, 1], on the CPU.

    Raises:
        FileError: If the path is missing, a folder or not readable.
        ImageError: If the file is not a JPEG, PNG or WebP picture, damaged, animated or too large.
        OutOfMemoryError: If there is not enough memory for its pixels.

    Examples:
        >>> import vaezoo
        >>> images = vaezoo.load_image("photo.jpg")
        >>> images.shape
        torch.Size([1, 3, 64, 96])
    """
    return to_tensor(read_picture(path))


def to_tensor(picture: Image.Image | Array | Sequence[Image.Image | Array]) -> Tensor:
    """Convert a Pillow image or numpy array, or several of one size, to a tensor.

    Black becomes -1 and white 1: an 8-bit value k becomes k / 127.5 - 1, a 16-bit value k / 32767.5 - 1.

    Args:
        picture: A Pillow image (EXIF rotation and color profile are not applied), or an array of shape (H, W),
            (H, W, 1), (H, W, 3) or (H, W, 4) and dtype uint8, uint16 or floating with values in [0, 1], whose fourth
            channel is opacity, composited over white; or a list or tuple of them, all of the same size.

    Returns:
        RGB images of shape (B, 3, H, W), float32 in [-1, 1]; B is 1 unless a list or tuple is given.

    Raises:
        InputError: If the type, mode, shape, dtype or range is not supported, or the sizes differ.

    Examples:
        >>> import numpy as np, vaezoo
        >>> images = vaezoo.to_tensor(np.zeros((32, 48, 3), dtype=np.uint8))
        >>> tuple(images.shape), images.min().item()
        ((1, 3, 32, 48), -1.0)
    """
    if isinstance(picture, list | tuple):
        return _batch([to_tensor(each) for each in picture])
    array = np.asarray(to_plain_mode(picture)) if isinstance(picture, Image.Image) else picture
    levels, white = to_levels(array)
    height, width, channels = levels.shape
    with enough_memory(lambda: f"a tensor of {height} x {width} pixels", "resize or crop the picture before"):
        images = np.empty((1, 3, height, width), np.float32)
        for channel in range(3):  # in place, because a large picture has gigabytes of floating-point values
            image = images[0, channel]
            image[:] = levels[..., channel if channels > 1 else 0]  # gray becomes three equal channels
            image /= white
            if channels == 4:
                opacity = levels[..., 3].astype(np.float32) / np.float32(white)
                image *= opacity
                image += 1 - opacity
        images *= 2
        images -= 1
    return torch.from_numpy(images)


def to_pil(images: Tensor) -> Image.Image:
    """Convert one image to an 8-bit RGB Pillow image; `to_tensor` restores exactly its 8-bit values.

    Args:
        images: Floating-point tensor of shape (3, H, W) or (1, 3, H, W); values are clamped to [-1, 1] and rounded.

    Raises:
        InputError: If there is more than one image, the shape or dtype does not fit, or a value is not finite.

    Examples:
        >>> import torch, vaezoo
        >>> vaezoo.to_pil(torch.zeros(1, 3, 32, 48)).size
        (48, 32)
    """
    return Image.fromarray(to_array(images))


def to_array(images: Tensor) -> Array:
    """Convert one image, as `to_pil` takes it, to an array of shape (H, W, 3) and dtype uint8."""
    levels = ((one_image(images).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return levels.permute(1, 2, 0).contiguous().numpy()


def save_picture(images: Tensor | Image.Image, path: str | Path) -> None:
    """Write one image to a file, atomically.

    Args:
        images: One image, as `to_pil` takes it, or a Pillow image.
        path: A path that ends in .png, .jpg (quality 95, 4:4:4) or .webp (lossless).

    Raises:
        InputError: If the image or the suffix is not supported, or the picture is too large for WebP.
        FileError: If the path cannot be written.
    """
    writer = WRITERS[check_picture_path(path).suffix.lower()]
    picture = images if isinstance(images, Image.Image) else to_pil(images)
    try:
        with replacing(path) as temporary:
            picture.save(temporary, **writer)
    except ValueError as error:
        raise InputError(f"{path}: {picture.width} x {picture.height} pixels ({error}); save it as .png") from error


def check_picture_path(path: str | Path) -> Path:
    """Check, before long work, that a picture can be written to `path`, and return it.

    Raises:
        InputError: If its suffix is not one of `SUFFIXES`.
        FileError: If its folder does not exist.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise InputError(f"{path}: the suffix chooses the format; end the name in .png, .jpg or .webp")
    if not path.parent.is_dir():
        raise FileError(f"{path}: cannot be written (there is no folder {path.parent})")
    return path


def one_image(images: Tensor) -> Tensor:
    """Convert one floating-point image of shape (3, H, W) or (1, 3, H, W) to (3, H, W), float32 on the CPU.

    Raises:
        InputError: If there is more than one image, the shape or dtype does not fit, or a value is not finite.
    """
    shape = tuple(images.shape)
    if len(shape) == 4 and shape[0] > 1:
        raise InputError(f"a batch of {shape[0]} images where one is expected; pass images[i]")
    if shape[-3:-2] != (3,) or len(shape) > 4 or images.numel() == 0 or not images.is_floating_point():
        raise InputError(f"a tensor of shape {shape} and {images.dtype}; expected floating (3, H, W) or (1, 3, H, W)")
    image = images.detach().to("cpu", torch.float32).reshape(shape[-3:])
    if not image.isfinite().all():
        raise InputError("an image has NaN or infinite values; find where they arise before you write it")
    return image


def _batch(tensors: list[Tensor]) -> Tensor:
    sizes = {tuple(each.shape[2:]) for each in tensors}
    if len(sizes) != 1:
        raise InputError(f"pictures of sizes (H, W) {sorted(sizes)}; expected one or more of one size")
    return torch.cat(tensors)
