"""Contact sheets: images side by side, and what differs between them."""

import itertools
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from vaezoo.errors import InputError
from vaezoo.io.images import one_image

GAP, GAP_VALUE = 4, 0.8  # pixels between the images of a sheet, and their grey in [-1, 1]


def tile(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    """Rows of images, each (3, H, W) or (1, 3, H, W) in [-1, 1] -> a contact sheet (3, H, W), float32 on the CPU.

    A row is as high as its highest image and a column as wide as its widest; the gaps and the rest are light grey.

    Raises:
        InputError: If there is no image, or one is not as `to_pil` takes it.
    """
    cells = {(i, j): one_image(images) for i, row in enumerate(rows) for j, images in enumerate(row)}
    if not cells:
        raise InputError("no images to tile; pass rows such as [[input, reconstruction]]")
    tops, lefts = _edges(cells, 0), _edges(cells, 1)
    sheet = torch.full((3, tops[-1] - GAP, lefts[-1] - GAP), GAP_VALUE)
    for (i, j), image in cells.items():
        sheet[:, tops[i] :, lefts[j] :][:, : image.shape[1], : image.shape[2]] = image
    return sheet


def difference(images: Tensor, reconstruction: Tensor, gain: float = 4) -> Tensor:
    """Two tensors of one shape in [-1, 1] -> (reconstruction - images) * gain, clamped to [-1, 1]; 0 is no difference.

    Raises:
        InputError: If the shapes differ.
    """
    if images.shape != reconstruction.shape:
        shapes = f"{tuple(images.shape)} and {tuple(reconstruction.shape)}"
        raise InputError(f"images and reconstruction differ in shape, {shapes}; crop one to the other")
    return ((reconstruction - images) * gain).clamp(-1, 1)


def _edges(cells: dict[tuple[int, int], Tensor], axis: int) -> list[int]:
    """Where each row (axis 0) or column (axis 1) of cells begins, and where one more would begin."""
    lengths: Counter[int] = Counter()
    for place, image in cells.items():
        lengths[place[axis]] = max(lengths[place[axis]], image.shape[axis + 1] + GAP)
    return [0, *itertools.accumulate(lengths[k] for k in range(max(lengths) + 1))]
