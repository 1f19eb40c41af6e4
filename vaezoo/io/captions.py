"""Captions below the images of contact sheets."""

import bisect
import functools

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vaezoo.io.images import one_image
from vaezoo.io.sheets import GAP_VALUE

DIFFERENCE = "difference x4"
SMALLEST = 128  # pixels across; narrower images are enlarged, so that captions fit below them
_FONT_SIZE, _LINE, _MARGIN = 13, 16, 2  # pixels
_TEXT_VALUE = -0.9


def captioned(images: Tensor, text: str) -> Tensor:
    """Put a caption below an image; long text is broken into lines.

    Args:
        images: One image of shape (3, H, W) or (1, 3, H, W) with values in [-1, 1].
        text: The caption.

    Returns:
        Image of shape (3, H + height of the caption, W), float32 on the CPU.

    Raises:
        InputError: If `to_pil` would not accept the image.
    """
    image = one_image(images)
    return torch.cat([image, caption(text, image.shape[2])], dim=1)


def enlarged(images: Tensor, least: int = SMALLEST) -> Tensor:
    """Repeat the pixels of a small image (1, 3, H, W), so that it is at least `least` pixels wide."""
    factor = -(-least // images.shape[3])
    return images.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3) if factor > 1 else images


def reconstruction_caption(quality: float) -> str:
    """The caption of a reconstruction with this PSNR in dB."""
    return f"reconstruction, PSNR {quality:.2f} dB"


def caption(text: str, width: int) -> Tensor:
    """Draw text as an image of shape (3, H, width), dark on the gray of a sheet; H depends on the number of lines."""
    lines = _wrapped(text, width - 2 * _MARGIN)
    picture = Image.new("L", (width, _LINE * len(lines) + 2 * _MARGIN), 0)
    draw = ImageDraw.Draw(picture)
    for index, line in enumerate(lines):
        draw.text((_MARGIN, _MARGIN + index * _LINE), line, fill=255, font=_font())
    ink = torch.from_numpy(np.asarray(picture, np.float32) / 255)
    return (GAP_VALUE + (_TEXT_VALUE - GAP_VALUE) * ink).expand(3, -1, -1).clone()


def _wrapped(text: str, width: int) -> list[str]:
    """Break text at spaces into lines of at most `width` pixels; longer words are cut."""
    lines = [""]
    for word in "".join(letter if letter.isprintable() else "?" for letter in text).split():
        longer = f"{lines[-1]} {word}".strip()
        if _length(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return [_cut(line, width) for line in lines]


def _cut(line: str, width: int) -> str:
    if _length(line) <= width:
        return line
    fits = range(1, len(line))
    kept = bisect.bisect(fits, False, key=lambda count: _length(f"{line[:count]}…") > width)
    return f"{line[:kept]}…" if kept else ""


def _length(text: str) -> float:
    return _font().getlength(text)


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=_FONT_SIZE)
