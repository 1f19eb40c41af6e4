"""How photos are brought to sizes that share a shard: a square, their own size, or the nearest bucket."""

import functools
import math
from typing import Literal, NamedTuple

from vaezoo.errors import ImageError

Resize = Literal["center", "multiple", "buckets", "kohya"]
RESIZES: tuple[Resize, ...] = ("center", "multiple", "buckets", "kohya")
SDXL_SIZE = 1024
KOHYA_STEP, KOHYA_LEAST = 64, 256  # defaults of bucket_reso_steps and min_bucket_reso of sd-scripts
# Width and height of the upright ones, which are also used turned. Podell et al. 2023 (arXiv:2307.01952), appendix I,
# as in neggles/neurosis@50d8406802122e254bc71f846b1717938fc64458 `src/neurosis/dataset/aspect/lists.py`, where only
# 704 x 1344 is not turned.
SDXL_BUCKETS = (
    *((512, 2048), (512, 1984), (512, 1920), (512, 1856), (576, 1792), (576, 1728), (576, 1664)),
    *((640, 1600), (640, 1536), (704, 1472), (704, 1408), (704, 1344), (768, 1344), (768, 1280)),
    *((832, 1216), (832, 1152), (896, 1152), (896, 1088), (960, 1088), (960, 1024), (1024, 1024)),
)
Box = tuple[float, float, float, float]


class Frame(NamedTuple):
    """The part of a photo that is encoded.

    Args:
        box: Left, top, right and bottom in pixels of the upright photo.
        width: Pixels to which it is resized.
        height: Pixels to which it is resized.
    """

    box: Box
    width: int
    height: int

    @property
    def bucket(self) -> str:
        """Name of the size, such as "1216x832"."""
        return f"{self.width}x{self.height}"


class Framing(NamedTuple):
    """How the part of a photo is chosen.

    Args:
        resize: "center": the central square, resized to `size`. "multiple": the size of the photo, cropped to multiples
            of `multiple`; a photo whose longer side exceeds `size` is reduced to it before. "buckets": the size of
            SDXL's buckets, scaled from 1024 to `size`, whose ratio of width to height is nearest; the photo covers it.
            "kohya": likewise, with the buckets that sd-scripts computes for the resolution `size`.
        size: Pixels; `None` only for "multiple", where it means any size.
        multiple: Width and height are multiples of it, `VAE.size_multiple`.
    """

    resize: Resize
    size: int | None
    multiple: int

    @property
    def fixed(self) -> str | None:
        """The bucket of all photos; `None` if it depends on their size."""
        return f"{self.size}x{self.size}" if self.resize == "center" else None

    def frame(self, width: int, height: int, location: str) -> Frame:
        """Return the part of an upright photo that is encoded.

        Args:
            width: Width of the photo in pixels.
            height: Height of the photo in pixels.
            location: The photo, for the message of the error.

        Raises:
            ImageError: If the photo is smaller than `multiple`.
        """
        if self.resize == "center":
            return _covered(width, height, (self._side, self._side))
        if self.resize in ("buckets", "kohya"):
            return _covered(width, height, self._bucket(width, height))
        scale = 1.0 if self.size is None else min(1.0, self.size / max(width, height))
        target = self._rounded(width * scale), self._rounded(height * scale)
        if not all(target):
            reduced = f", with the longer side reduced to {self.size}," if scale < 1 else ","
            text = (
                f"{width} x {height} pixels{reduced} too small for the multiple of {self.multiple} pixels of this model"
            )
            raise ImageError(f"{location}: {text}; remove it, or take --resize center, which enlarges it")
        if scale < 1:
            return _covered(width, height, target)
        left, top = (width - target[0]) // 2, (height - target[1]) // 2  # whole pixels, which are not resampled
        return Frame((left, top, left + target[0], top + target[1]), *target)

    @property
    def _side(self) -> int:
        assert self.size is not None  # `checked_settings` makes sure of it
        return self.size

    def _rounded(self, side: float) -> int:
        return int(side + 1e-6) // self.multiple * self.multiple

    def _bucket(self, width: int, height: int) -> tuple[int, int]:
        """Return the bucket of the least difference of width / height; the narrower one of two.

        Source: kohya-ss/sd-scripts@185f286ebc67bbecccfda7587b823b041bb00b7c `library/dataset/buckets.py`,
        `BucketManager.select_bucket`.
        """
        sizes = bucket_sizes if self.resize == "buckets" else kohya_sizes
        known = sizes(self._side, self.multiple)
        return (width, height) if (width, height) in known else nearest(known, width / height)


@functools.lru_cache(maxsize=4)
def bucket_sizes(size: int, multiple: int) -> list[tuple[int, int]]:
    """List the buckets, width and height in pixels, the narrowest first.

    Args:
        size: Side of the square bucket in pixels; SDXL's table is for 1024.
        multiple: Sides are rounded to multiples of it.
    """
    sides = {(w, h) for pair in SDXL_BUCKETS for w, h in (pair, pair[::-1])}
    scaled = {(_scaled(w, size, multiple), _scaled(h, size, multiple)) for w, h in sides}
    return sorted(scaled, key=lambda sides: (sides[0] / sides[1], sides))


@functools.lru_cache(maxsize=4)
def kohya_sizes(size: int, multiple: int) -> list[tuple[int, int]]:
    """List the buckets that sd-scripts computes, width and height in pixels, the narrowest first.

    Source: kohya-ss/sd-scripts@48d368fa `library/model_util.py`, `make_bucket_resolutions`: for each width the largest
    height with no more pixels than the square.

    Args:
        size: `resolution` of sd-scripts; `max_bucket_reso` is twice as large.
        multiple: Sides are multiples of it and of 64.
    """
    step, most, found = kohya_step(multiple), 2 * size, {(size, size)}
    for width in range(step, most + 1, step):
        height = min(most, size * size // width // step * step)
        if min(width, height) >= KOHYA_LEAST:
            found |= {(width, height), (height, width)}
    return sorted(found, key=lambda sides: (sides[0] / sides[1], sides))


def kohya_step(multiple: int) -> int:
    """Return the step between the sides of `kohya_sizes`, for a model whose sizes are multiples of `multiple`."""
    return math.lcm(KOHYA_STEP, multiple)


def nearest(sizes: list[tuple[int, int]], ratio: float) -> tuple[int, int]:
    """Return the size whose width / height is nearest to a ratio; the first of several."""
    return min(sizes, key=lambda sides: abs(sides[0] / sides[1] - ratio))


def _covered(width: int, height: int, target: tuple[int, int]) -> Frame:
    """Return the largest central part of a photo with the ratio of a size."""
    if width * target[1] <= height * target[0]:
        inner = float(width), width * target[1] / target[0]
    else:
        inner = height * target[0] / target[1], float(height)
    left, top = (width - inner[0]) / 2, (height - inner[1]) / 2
    return Frame((left, top, left + inner[0], top + inner[1]), *target)


def _scaled(side: int, size: int, multiple: int) -> int:
    return max(1, round(side * size / SDXL_SIZE / multiple)) * multiple
