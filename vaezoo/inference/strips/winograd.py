"""3x3 convolutions by Winograd's minimal filtering, which needs a quarter of the multiplications.

A tile of 4x4 results comes from 6x6 values by 36 products instead of 144: values and weights are evaluated at the
points 0, 3/4, -3/4, 3/2, -3/2 and infinity, multiplied there, and interpolated. In real numbers the result is that of
the convolution. With these points its errors in float32 are those of the convolution, too; with the usual points 0, 1,
-1, 2, -2 they are three times as large (on the choice of points: Barabasz et al. 2018, arXiv:1803.10986).

Source: Winograd 1980, "Arithmetic Complexity of Computations"; Lavin and Gray 2015 (arXiv:1509.09308).
"""

from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

TILE, KERNEL = 4, 3
SIDE = TILE + KERNEL - 1  # values along a side of a tile
POINTS = [Fraction(p) for p in ("0", "3/4", "-3/4", "3/2", "-3/2")]  # and infinity
TILES_AT_ONCE = 128  # their values stay in the cache of a CPU
LEAST_CHANNELS, LEAST_TILES = 128, 128  # below them, transforming values or weights takes longer than it saves


def pays(x: Tensor, weight: Tensor, strides: tuple[int, int], groups: int) -> bool:
    """Whether a convolution is faster this way.

    Measured on x86 CPUs with AVX2 in float32, whose convolution kernels are close to the speed of a matrix product. In
    bfloat16 the evaluation at points loses too much.
    """
    return (
        x.device.type in ("cpu", "meta")  # the latter counts memory
        and x.dtype == torch.float32
        and tuple(weight.shape[-2:]) == (KERNEL, KERNEL)
        and (strides, groups, len(x)) == ((1, 1), 1, 1)
        and min(weight.shape[:2]) >= LEAST_CHANNELS
        and x.shape[-2] * x.shape[-1] >= LEAST_TILES * TILE**2
    )


def evaluated(weight: Tensor) -> Tensor:
    """The values of weights (out, in, 3, 3) at the points, of shape (36, in, out)."""
    taps = weight.detach().permute(2, 3, 1, 0).reshape(KERNEL**2, -1)
    return torch.mm(WEIGHTS.to(weight.device), taps).view(SIDE**2, weight.shape[1], weight.shape[0])


def convolve(x: Tensor, points: Tensor, bias: Tensor | None, rows: tuple[int, int], columns: int) -> Tensor:
    """Convolve an image.

    Args:
        x: Map of shape (1, in, H, W).
        points: The weights, as `evaluated` returns them.
        bias: Bias of shape (out,), or `None`.
        rows: Numbers of zero rows to add above and below.
        columns: Number of zero columns to add on each side.

    Returns:
        Map of shape (1, out, H + rows - 2, W + 2 * columns - 2), in channels_last.
    """
    channels, out = points.shape[1:]
    height, width = x.shape[-2] + sum(rows) - KERNEL + 1, x.shape[-1] + 2 * columns - KERNEL + 1
    down, across = -(-height // TILE), -(-width // TILE)
    missing = TILE * down - height, TILE * across - width  # rows and columns that complete the last tiles
    padded = F.pad(x, (columns, columns + missing[1], rows[0], rows[1] + missing[0]))
    padded = padded.permute(0, 2, 3, 1)[0].contiguous()
    row, column = padded.stride()[:2]
    result = padded.new_empty(down, TILE, across, TILE, out)
    step = max(TILES_AT_ONCE // across, 1)
    starts = range(0, down, step)
    values_of, results_of = VALUES.to(x.device), RESULTS.to(x.device)
    for first in starts[:1] if x.is_meta else starts:  # all need the same memory, which is what the meta device counts
        count = min(step, down - first)
        tiles = padded.as_strided(
            (SIDE, SIDE, count, across, channels), (row, column, TILE * row, TILE * column, 1), first * TILE * row
        )
        values = torch.mm(values_of, tiles.reshape(SIDE**2, -1)).view(SIDE**2, -1, channels)
        products = torch.bmm(values, points).view(SIDE**2, -1)
        made = torch.mm(results_of, products).view(TILE, TILE, count, across, out)
        result[first : first + count] = made.permute(2, 0, 3, 1, 4)
    if bias is not None:
        result += bias
    return result.view(1, TILE * down, TILE * across, out)[:, :height, :width].permute(0, 3, 1, 2)


def _transforms() -> tuple[Tensor, Tensor, Tensor]:
    """Toom and Cook's matrices for values and weights at the points, and for results from their products."""
    values, weights = [], []
    for point in POINTS:
        others = [other for other in POINTS if other != point]
        values.append([*_product(others), Fraction(0)])
        scale = _product([other - point for other in others])[0]  # product of point - other, whose signs cancel
        weights.append([point**power / scale for power in range(KERNEL)])
    values.append(_product(POINTS))
    weights.append([Fraction(0)] * (KERNEL - 1) + [Fraction(1)])
    results = [[point**power for point in POINTS] + [Fraction(int(power == TILE - 1))] for power in range(TILE)]
    return _both_sides(values), _both_sides(weights), _both_sides(results)


def _both_sides(rows: list[list[Fraction]]) -> Tensor:
    """The matrix that transforms both sides of a tile at once, in float32."""
    matrix = torch.tensor([[float(x) for x in row] for row in rows], dtype=torch.float64)
    return torch.kron(matrix, matrix).float()


def _product(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of the product of x - root, from the constant to the leading one."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [s - root * c for s, c in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return coefficients


VALUES, WEIGHTS, RESULTS = _transforms()
