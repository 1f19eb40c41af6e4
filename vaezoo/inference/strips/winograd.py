"""3x3 convolutions by Winograd's minimal filtering, which needs a quarter of the multiplications.

Along a side of a tile, the 4 results of a convolution come from a window of 6 values: values and weights are evaluated
at 6 points, multiplied there, and interpolated. A tile of 4x4 results so takes 36 products instead of 144. After
nearest-neighbor upsampling by 2, the two pixels of each position have two taps each, and 8 results come from the same
window by two times 5 products: 100 instead of 256 for a tile, or 576 without folding. In real numbers the results are
those of the convolution. With the points 0, 3/4, -3/4, 3/2, -3/2 and infinity its errors in float32 are those of the
convolution, too; with the usual points 0, 1, -1, 2, -2 they are three times as large (on the choice of points:
Barabasz et al. 2018, arXiv:1803.10986).

Source: Winograd 1980, "Arithmetic Complexity of Computations"; Lavin and Gray 2015 (arXiv:1509.09308).
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

TILE, WINDOW, KERNEL = 4, 6, 3  # positions along a side of a tile and of its window, and taps
TILES_AT_ONCE = 128  # at most, and half as many as channels: fewer read the weights too often, more leave the cache
LEAST_CHANNELS, LEAST_TILES = 128, 128  # below them, transforming values or weights takes longer than it saves
Matrix = list[list[Fraction]]


class Filtering(NamedTuple):
    """The linear maps along a side: a tile's results are `results @ ((weights @ taps) * (values @ window))`.

    Args:
        values: Of shape (products, WINDOW).
        weights: Of shape (products, KERNEL).
        results: Of shape (results, products).
    """

    values: Tensor
    weights: Tensor
    results: Tensor


def pays(x: Tensor, weight: Tensor, strides: tuple[int, int], groups: int) -> bool:
    """Whether a convolution is faster this way.

    Measured on x86 CPUs with AVX2 in float32, whose convolution kernels are close to the speed of a matrix product. In
    bfloat16 the evaluation at points loses too much.
    """
    return (
        x.device.type in ("cpu", "meta")  # the latter counts memory
        and x.dtype == torch.float32
        and is_wide(weight)
        and (strides, groups, len(x)) == ((1, 1), 1, 1)
        and x.shape[-2] * x.shape[-1] >= LEAST_TILES * TILE**2
    )


def is_wide(weight: Tensor) -> bool:
    """Whether a weight is that of a 3x3 convolution with enough channels for Winograd's filtering."""
    return weight.ndim == 4 and weight.shape[-2:] == (KERNEL, KERNEL) and min(weight.shape[:2]) >= LEAST_CHANNELS


def evaluated(weight: Tensor, filtering: Filtering) -> Tensor:
    """The values of weights (out, in, 3, 3) at the points, of shape (products**2, in, out), columns first."""
    taps = weight.detach().permute(3, 2, 1, 0).reshape(KERNEL**2, -1)
    both_sides = torch.kron(filtering.weights, filtering.weights).to(weight.device)
    return torch.mm(both_sides, taps).view(-1, weight.shape[1], weight.shape[0])


def convolve(
    x: Tensor, points: Tensor, bias: Tensor | None, rows: tuple[int, int], columns: int, filtering: Filtering
) -> Tensor:
    """Convolve an image, or an upsampled image.

    Args:
        x: Map of shape (1, in, H, W).
        points: The weights, as `evaluated` returns them.
        bias: Bias of shape (out,), or `None`.
        rows: Numbers of zero rows to add above and below.
        columns: Number of zero columns to add on each side.
        filtering: `CONVOLUTION` or `UPSAMPLED`.

    Returns:
        Map of shape (1, out, H + rows - 2, W + 2 * columns - 2), in channels_last; twice as high and wide for
        `UPSAMPLED`.
    """
    filtering = Filtering(*(matrix.to(x.device) for matrix in filtering))
    channels, out = points.shape[1:]
    side = len(filtering.results)
    height, width = (size * side // TILE for size in _positions(x, rows, columns))
    down, across = -(-height // side), -(-width // side)
    at_once = min(TILES_AT_ONCE, -(-channels // 2))
    wide, high = -(-across // -(-across // at_once)), max(at_once // across, 1)
    image = x.contiguous(memory_format=torch.channels_last)[0].permute(1, 2, 0)
    result = x.new_empty(height, width, out)
    scratch = _Scratch(x)
    scratch.take(
        "rows", TILE * min(high, down) + WINDOW - TILE, min(TILE * wide + WINDOW - TILE, x.shape[-1]), channels
    )
    blocks = [(top, left) for top in range(0, down, high) for left in range(0, across, wide)]
    for top, left in blocks[:1] if x.is_meta else blocks:  # all need the same memory, which the meta device counts
        h, w = min(high, down - top), min(wide, across - left)
        first = TILE * top - rows[0], TILE * left - columns
        values = _values(_transformed(image, first, (h, w), filtering.values, scratch), w, filtering.values, scratch)
        products = torch.bmm(values, points, out=scratch.take("products", len(points), h * w, out))
        made = _results(products, filtering.results, scratch).view(side, side, h, w, out)
        if bias is not None:
            made += bias
        _place(made.permute(2, 1, 3, 0, 4), result[side * top :, side * left :])
    return result.permute(2, 0, 1)[None]


def _positions(x: Tensor, rows: tuple[int, int], columns: int) -> tuple[int, int]:
    """Height and width of the convolved map."""
    return x.shape[-2] + sum(rows) - KERNEL + 1, x.shape[-1] + 2 * columns - KERNEL + 1


def _place(tiles: Tensor, result: Tensor) -> None:
    """Put tiles (h, side, w, side, C) into the upper left corner of a map (H, W, C), as far as they lie in it."""
    h, side, w = tiles.shape[:3]
    part = result[: h * side, : w * side]
    if part.shape[:2] == (h * side, w * side):
        part.unflatten(1, (w, side)).unflatten(0, (h, side)).copy_(tiles)
    else:
        part.copy_(tiles.reshape(h * side, w * side, -1)[: part.shape[0], : part.shape[1]])


class _Scratch:
    """Tensors that are used again and again: new ones of their size would be new pages of memory.

    Args:
        like: A tensor of their dtype and device.
    """

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self.tensors: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """A contiguous tensor of a shape, without values; the first one of a name is the largest."""
        if name not in self.tensors:
            self.tensors[name] = self.like.new_empty(math.prod(shape))
        return self.tensors[name][: math.prod(shape)].view(shape)


def _transformed(
    image: Tensor, first: tuple[int, int], tiles: tuple[int, int], matrix: Tensor, scratch: _Scratch
) -> Tensor:
    """The windows of tiles, transformed along their columns: values at the points.

    Args:
        image: Of shape (H, W, C).
        first: Row and column of the image at which the first window begins; outside of the image are zeros.
        tiles: Rows and columns of tiles.
        matrix: `Filtering.values`.
        scratch: Gives the memory.

    Returns:
        Of shape (rows of tiles, products, positions along a row, C).
    """
    (h, w), (top, left), channels = tiles, first, image.shape[-1]
    size = TILE * w + WINDOW - TILE
    down = scratch.take("down", h, len(matrix), size, channels)
    near, far = max(-left, 0), min(image.shape[1] - left, size)
    down[:, :, :near] = 0
    down[:, :, far:] = 0
    rows = _rows(image[:, left + near : left + far], top, TILE * h + WINDOW - TILE, scratch)
    windows = rows.as_strided((h, WINDOW, (far - near) * channels), (TILE * rows.stride(0), rows.stride(0), 1))
    torch.bmm(matrix.expand(h, -1, -1), windows, out=down[:, :, near:far].flatten(2))
    return down


def _rows(image: Tensor, first: int, size: int, scratch: _Scratch) -> Tensor:
    """Rows of an image (H, W, C), with zeros for those outside."""
    low, high = max(first, 0), min(first + size, len(image))
    if high - low == size:
        return image[low:high]
    rows = scratch.take("rows", size, *image.shape[1:])
    rows[: low - first] = 0
    rows[high - first :] = 0
    rows[low - first : high - first] = image[low:high]
    return rows


def _values(down: Tensor, w: int, matrix: Tensor, scratch: _Scratch) -> Tensor:
    """The values of tiles at the points, of shape (products**2, tiles, channels), columns first."""
    h, points, size, channels = down.shape
    slid = scratch.take("slid", WINDOW, points, h, w, channels)
    row = size * channels
    slid.copy_(down.as_strided(slid.shape, (channels, row, points * row, TILE * channels, 1)))
    values = torch.mm(matrix, slid.view(WINDOW, -1), out=scratch.take("values", points, points * h * w * channels))
    return values.view(points**2, h * w, channels)


def _results(products: Tensor, matrix: Tensor, scratch: _Scratch) -> Tensor:
    """The results of tiles from the products at the points: of shape (columns, rows, tiles * channels)."""
    (side, points), size = matrix.shape, products[0].numel()
    across = torch.mm(matrix, products.view(points, -1), out=scratch.take("across", side, points * size))
    across = across.view(side, points, size)
    return torch.bmm(matrix.expand(side, -1, -1), across, out=scratch.take("results", side, side, size))


def _toom_cook(points: Sequence[str], kernel: int) -> tuple[Matrix, Matrix, Matrix]:
    """Toom and Cook's matrices for values, weights and results, for 4 results of a kernel."""
    finite = [Fraction(point) for point in points]
    values, weights = [], []
    for point in finite:
        others = [other for other in finite if other != point]
        values.append([*_product(others), Fraction(0)])
        scale = _product([other - point for other in others])[0]  # product of point - other, whose signs cancel
        weights.append([point**power / scale for power in range(kernel)])
    values.append(_product(finite))
    weights.append([Fraction(0)] * (kernel - 1) + [Fraction(1)])
    results = [[point**power for point in finite] + [Fraction(int(power == TILE - 1))] for power in range(TILE)]
    return values, weights, results


def _product(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of the product of x - root, from the constant to the leading one."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [s - root * c for s, c in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return coefficients


def _convolution() -> Filtering:
    return Filtering(*map(_tensor, _toom_cook(("0", "3/4", "-3/4", "3/2", "-3/2"), KERNEL)))


def _upsampled() -> Filtering:
    """Of the three taps, the first pixel of a position has one above it and two at it, the second one the reverse."""
    values, weights, results = map(_tensor, _toom_cook(("0", "3/4", "-3/4", "3/2"), 2))
    nothing = values.new_zeros(len(values), 1)
    first, second = torch.tensor([[1.0, 0, 0], [0, 1, 1]]), torch.tensor([[1.0, 1, 0], [0, 0, 1]])
    return Filtering(
        torch.cat([torch.cat([values, nothing], 1), torch.cat([nothing, values], 1)]),
        torch.cat([weights @ first, weights @ second]),
        torch.stack([torch.cat([results, 0 * results], 1), torch.cat([0 * results, results], 1)], 1).flatten(0, 1),
    )


def _tensor(matrix: Matrix) -> Tensor:
    return torch.tensor([[float(x) for x in row] for row in matrix])


CONVOLUTION, UPSAMPLED = _convolution(), _upsampled()
