"""Resize and crop photos, and pad images to a multiple of pixels."""

import torch
from PIL import Image
from torch import Tensor

from vaezoo.errors import InputError
from vaezoo.io.pixels import to_plain_mode


def resize_and_crop(picture: Image.Image, size: int) -> Image.Image:
    """Crop the central square of a picture and resize it with antialiased Lanczos.

    It equals resizing the shorter side to `size` and cropping the longer one, without rounding the longer one first.

    Args:
        picture: A Pillow image of any mode that `to_tensor` takes.
        size: Pixels per side of the result, at least 1.

    Returns:
        A picture of size x size pixels and mode "RGB", or "I;16" if it is 16-bit gray.

    Raises:
        InputError: If the mode is not supported, or `size` is not an integer of at least 1.
    """
    _check_count("size", size)
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    return resize_box(picture, (left, top, left + side, top + side), (size, size))


def resize_box(picture: Image.Image, box: tuple[float, float, float, float], size: tuple[int, int]) -> Image.Image:
    """Resize a part of a picture with antialiased Lanczos.

    Args:
        picture: A Pillow image of any mode that `to_tensor` takes.
        box: Left, top, right and bottom of the part in pixels, which may be fractions.
        size: Width and height of the result in pixels.

    Returns:
        A picture of that size and mode "RGB", or "I;16" if it is 16-bit gray.

    Raises:
        InputError: If the mode is not supported.
    """
    picture = to_plain_mode(picture)
    wide = picture.convert("I") if picture.mode == "I;16" else picture  # Pillow resizes "I;16" only since version 11
    return wide.resize(size, Image.Resampling.LANCZOS, box=box).convert(picture.mode)


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Pad images at the right and bottom so that height and width are multiples of `multiple`.

    The padding is a reflection without the edge pixel, repeated if the image is smaller than the padding. Crop it off
    with `[..., :H, :W]`.

    Args:
        images: Tensor of shape (B, C, H, W).
        multiple: Pixels, at least 1, such as `vae.size_multiple`.

    Returns:
        Tensor of shape (B, C, H', W'); `images` itself if no padding is needed.

    Raises:
        InputError: If the shape does not fit, or `multiple` is not an integer of at least 1.

    Examples:
        >>> import torch, vaezoo
        >>> tuple(vaezoo.pad_to_multiple(torch.zeros(1, 3, 30, 40), 16).shape)
        (1, 3, 32, 48)
    """
    _check_count("multiple", multiple)
    if images.ndim != 4 or 0 in images.shape[2:]:
        raise InputError(f"images of shape {tuple(images.shape)}; expected (B, C, H, W)")
    for dim in (2, 3):
        if images.shape[dim] % multiple:
            images = images.index_select(dim, reflected(images.shape[dim], multiple).to(images.device))
    return images


def reflected(length: int, multiple: int) -> Tensor:
    """The index of the row or column of which `pad_to_multiple` makes each one of its result.

    Args:
        length: Rows or columns of the image, at least 1.
        multiple: Pixels, at least 1.
    """
    steps = torch.arange(length + -length % multiple) % max(2 * (length - 1), 1)
    return torch.minimum(steps, 2 * (length - 1) - steps)  # F.pad cannot reflect beyond the far edge


def _check_count(name: str, value: int) -> None:
    if not isinstance(value, int) or value < 1:
        raise InputError(f"{name}={value!r}; expected a whole number of at least 1")
