"""Contact sheets of images, and the amplified difference of two images."""

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vaezoo.errors import InputError
from vaezoo.io.images import one_image
from vaezoo.io.pixels import Array

GAP, GAP_VALUE = 4, 0.8  # pixels between the images of a sheet, and their gray value in [-1, 1]


def tile(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    """Arrange images in a contact sheet.

    Each row is as high as its highest image and each column as wide as its widest; gaps are light gray.

    Args:
        rows: Rows of images, each of shape (3, H, W) or (1, 3, H, W) with values in [-1, 1].

    Returns:
        The sheet, of shape (3, H, W), float32 on the CPU.

    Raises:
        InputError: If there is no image, or `to_pil` would not accept one of them.
    """
    cells = {(i, j): one_image(images) for i, row in enumerate(rows) for j, images in enumerate(row)}
    if not cells:
        raise InputError("no images to tile; pass rows such as [[input, reconstruction]]")
    tops, lefts = _edges(cells, 0), _edges(cells, 1)
    sheet = torch.full((3, tops[-1] - GAP, lefts[-1] - GAP), GAP_VALUE)
    for (i, j), image in cells.items():
        sheet[:, tops[i] :, lefts[j] :][:, : image.shape[1], : image.shape[2]] = image
    return sheet


def stacked(sheets: Sequence[Array]) -> Array:
    """Arrange drawn sheets one below the other, with the gaps of `tile`.

    Args:
        sheets: Arrays of shape (H, W, 3) and dtype uint8, at least one.
    """
    if len(sheets) == 1:
        return sheets[0]
    height = sum(len(sheet) + GAP for sheet in sheets) - GAP
    drawn = np.full((height, max(sheet.shape[1] for sheet in sheets), 3), round((GAP_VALUE + 1) * 127.5), np.uint8)
    top = 0
    for sheet in sheets:
        drawn[top : top + len(sheet), : sheet.shape[1]] = sheet
        top += len(sheet) + GAP
    return drawn


def difference(images: Tensor, reconstruction: Tensor, gain: float = 4) -> Tensor:
    """(reconstruction - images) * gain, clamped to [-1, 1], so that gray means no difference.

    Args:
        images: Images in [-1, 1].
        reconstruction: Images of the same shape.
        gain: Factor of the difference.

    Raises:
        InputError: If the shapes differ.
    """
    if images.shape != reconstruction.shape:
        shapes = f"{tuple(images.shape)} and {tuple(reconstruction.shape)}"
        raise InputError(f"images and reconstruction differ in shape, {shapes}; crop one to the other")
    return ((reconstruction - images) * gain).clamp(-1, 1)


def _edges(cells: dict[tuple[int, int], Tensor], axis: int) -> list[int]:
    """The first pixel of each row (axis 0) or column (axis 1), and of one more after the last."""
    lengths: Counter[int] = Counter()
    for index, image in cells.items():
        lengths[index[axis]] = max(lengths[index[axis]], image.shape[axis + 1] + GAP)
    return [0, *itertools.accumulate(lengths[k] for k in range(max(lengths) + 1))]
