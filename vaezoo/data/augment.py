"""Changes of a crop beyond its position: rotation, quarter turns, and exposure and color."""

import random
from typing import NamedTuple

import numpy as np

from vaezoo.data.settings import AugmentConfig
from vaezoo.io.pixels import COLORS


class Augmentation(NamedTuple):
    """The changes of one crop. Without arguments, none.

    Args:
        angle: Rotation in degrees, counterclockwise.
        upside_down: Whether the crop is flipped vertically.
        quarter_turns: Number of rotations by 90 degrees, from 0 to 3.
        stops: Exposure of red, green and blue in stops: linear light is multiplied by 2 ** stops.
        exponent: Exponent of the sRGB values from 0 to 1, after the exposure.
        saturation: Factor of the color differences.
        hue: Rotation of the color differences, in degrees.
    """

    angle: float = 0.0
    upside_down: bool = False
    quarter_turns: int = 0
    stops: tuple[float, float, float] = (0.0, 0.0, 0.0)
    exponent: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0


def draw_augmentation(settings: AugmentConfig, draw: random.Random) -> Augmentation:
    """Draw the changes of one crop. Every key takes the same random numbers whatever its range and the others are."""
    angle, exposure, red, blue, gamma, saturation, hue = (draw.uniform(-1, 1) for _ in range(7))
    upside_down, turns = draw.random() < 0.5, draw.randrange(4)
    exposure, red, blue = exposure * settings.exposure, red * settings.white_balance, blue * settings.white_balance
    return Augmentation(
        angle=angle * settings.rotate,
        upside_down=settings.flip_vertical and upside_down,
        quarter_turns=turns if settings.quarter_turns else 0,
        stops=(exposure + red, exposure, exposure + blue),
        exponent=2.0 ** (gamma * settings.gamma),
        saturation=1.0 + saturation * settings.saturation,
        hue=hue * settings.hue,
    )


def change_colors(pixels: np.ndarray, changes: Augmentation) -> np.ndarray:
    """Change exposure, white balance, gamma, saturation and hue, with one rounding at the end.

    Args:
        pixels: Array of shape (H, W, 3), uint8, in sRGB.
        changes: Its exposure and color; the others are not used.

    Returns:
        Array of shape (H, W, 3), uint8. Linear light above 1 is clipped after the exposure, as by a camera, and the
        result is clipped to the range of its dtype.

    Source: IEC 61966-2-1 (sRGB); color differences of ITU-R BT.601-7, full range.
    """
    light = _to_linear(np.arange(256) / 255)[:, None] * 2.0 ** np.array(changes.stops)
    curves = _to_srgb(light.clip(max=1)) ** changes.exponent  # (256, 3), a curve for each channel
    mixed = curves[pixels, (0, 1, 2)] @ _mix(changes.saturation, changes.hue).T
    return np.rint(mixed.clip(0, 1) * 255).astype(np.uint8)


def _mix(saturation: float, hue: float) -> np.ndarray:
    """Matrix (3, 3) that scales and rotates the color differences of RGB values and keeps their luma."""
    cos, sin = saturation * np.cos(np.radians(hue)), saturation * np.sin(np.radians(hue))
    differences = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return np.linalg.inv(COLORS) @ differences @ np.array(COLORS)


def _to_linear(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _to_srgb(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
