"""Conversion of pictures with an ICC color profile to sRGB."""

import functools
import io
import warnings
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

from vaezoo.errors import InputError
from vaezoo.io.pixels import has_opacity, to_plain_mode

SAME = 2  # levels; a profile that changes no color by more counts as sRGB
GRAY, RGB = dict.fromkeys(("L", "LA", "I", "I;16"), "GRAY"), dict.fromkeys(("P", "RGB", "RGBA"), "RGB")
SPACES = {**GRAY, **RGB, "CMYK": "CMYK"}  # the color model of a profile that fits a mode
Convert = Callable[[Image.Image], Image.Image]


def to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert a picture with a color profile to sRGB; opacity and transparent colors are kept.

    Args:
        picture: A loaded picture, which may be changed in place.
        profile: Its ICC profile; `None` means sRGB. A damaged one is ignored with a warning, and one for another color
            model than that of the picture without a warning.

    Returns:
        The converted picture; `picture` itself, unchanged, if its profile is ignored or changes no color by more than
        2 of 255 levels.

    Raises:
        InputError: If Pillow was built without LittleCMS.
    """
    space = SPACES.get(picture.mode)
    convert = _conversion(profile, space) if profile is not None and space else None
    return convert(picture) if convert else picture


@functools.lru_cache(maxsize=32)
def _conversion(profile: bytes, space: str) -> Convert | None:
    """Return the conversion of a profile; `None` if there is nothing to convert. Warns once of a damaged profile."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != space:
            return None
        return {"RGB": _from_rgb, "GRAY": _from_gray, "CMYK": _from_cmyk}[space](source)
    except (OSError, ValueError, ImageCms.PyCMSError) as error:
        text = f"a color profile of {len(profile)} bytes is damaged ({error}); photos with it are read as sRGB"
        warnings.warn(text, stacklevel=2)
        return None
    except ImportError as error:
        raise InputError("Pillow lacks LittleCMS, which reads color profiles; install Pillow from PyPI") from error


def _transform(source: ImageCms.ImageCmsProfile, mode: str, target: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, target)


def _from_rgb(source: ImageCms.ImageCmsProfile) -> Convert | None:
    transforms = {mode: _transform(source, mode, mode) for mode in ("RGB", "RGBA")}
    levels = np.linspace(0, 255, 6).astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(6, 36, 3)
    if _is_same(grid, np.asarray(transforms["RGB"].apply(Image.fromarray(grid)))):
        return None

    def convert(picture: Image.Image) -> Image.Image:
        if has_opacity(picture):
            picture = picture.convert("RGBA")
        return transforms[picture.mode].apply_in_place(picture)

    return convert


def _from_gray(source: ImageCms.ImageCmsProfile) -> Convert | None:
    """A table of levels, which is interpolated for 16 bits."""
    ramp = np.arange(256, dtype=np.uint8)
    table = np.asarray(_transform(source, "L", "RGB").apply(Image.fromarray(ramp[None])))[0, :, 1]
    if _is_same(ramp, table):
        return None
    wide = np.interp(np.arange(65536), ramp * 257.0, table * 257.0).round().astype(np.uint16)

    def convert(picture: Image.Image) -> Image.Image:
        if picture.mode.startswith("I"):
            return Image.fromarray(wide[np.asarray(to_plain_mode(picture))])
        if has_opacity(picture):
            return picture.convert("RGBA").point([*table.tolist() * 3, *range(256)])
        return picture.point(table.tolist())

    return convert


def _from_cmyk(source: ImageCms.ImageCmsProfile) -> Convert:
    transform = _transform(source, "CMYK", "RGB")

    return transform.apply


def _is_same(before: np.ndarray, after: np.ndarray) -> bool:
    return bool(np.abs(before.astype(int) - after).max() <= SAME)
