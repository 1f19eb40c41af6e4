"""Cut a random square out of a photo."""

import math
import random

import numpy as np
from PIL import Image

from vaezoo.data.augment import Augmentation, change_colors
from vaezoo.data.settings import DataConfig


def random_crop(
    pixels: np.ndarray, size: int, data: DataConfig, draw: random.Random, changes: Augmentation | None = None
) -> np.ndarray:
    """Crop a random square and resize it by Lanczos with antialiasing.

    Args:
        pixels: Photo of shape (H, W, 3), uint8.
        size: Pixels per side of the crop.
        data: Its `scale` and `flip` are used.
        draw: Random numbers of this crop.
        changes: Further changes. A rotated square lies inside the photo too: its angle is smaller if the photo is.

    Returns:
        Array of shape (size, size, 3), uint8.
    """
    height, width = pixels.shape[:2]
    low, high = data.scale
    most = max(low, min(high, min(height, width) / size))
    factor = math.exp(draw.uniform(math.log(low), math.log(most)))
    side = min(max(round(size * factor), 1), height, width)
    angle = _limited(changes.angle, min(height, width) / side) if changes else 0.0
    around = min(math.ceil(side * _span(angle)), height, width)  # of the upright square around the rotated one
    top, left = draw.randint(0, height - around), draw.randint(0, width - around)
    square = pixels[top : top + around, left : left + around]
    if angle:
        square = _rotated(square, side, angle)
    if side != size:
        square = np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.LANCZOS))
    square = square[:, ::-1] if data.flip and draw.random() < 0.5 else square
    if not changes:
        return square
    square = np.rot90(square[::-1] if changes.upside_down else square, changes.quarter_turns)
    return change_colors(square, changes)


def _span(angle: float) -> float:
    """Width of a square with sides of 1 that is rotated by `angle` degrees, from -45 to 45."""
    return math.cos(math.radians(angle)) + abs(math.sin(math.radians(angle)))


def _limited(angle: float, span: float) -> float:
    """Limit an angle so that the rotated square has a width of at most `span`, which is 1 or more."""
    most = 45.0 if span >= math.sqrt(2) else max(0.0, math.degrees(math.asin(span / math.sqrt(2))) - 45)
    return max(-most, min(angle, most))


def _rotated(square: np.ndarray, side: int, angle: float) -> np.ndarray:
    """Sample a square with `side` pixels per side, rotated about the center of another one, by bicubic interpolation.

    All samples lie inside: the outermost pixel centers are half a pixel from the edges.
    """
    cos, sin, center = math.cos(math.radians(angle)), math.sin(math.radians(angle)), len(square) / 2
    x, y = (center - side / 2 * (cos - sin), center - side / 2 * (cos + sin))  # of the corner
    matrix = (cos, -sin, x, sin, cos, y)
    picture = Image.fromarray(square).transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return np.asarray(picture)
