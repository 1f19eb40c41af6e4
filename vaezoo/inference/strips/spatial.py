"""Nodes whose rows depend on other rows: convolutions, resampling, padding."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vaezoo.inference.strips.nodes import MapNode, Range, join


@dataclass(frozen=True)
class Window:
    """The input rows of a convolution along height.

    Args:
        kernel: Size of the kernel.
        stride: Distance of windows.
        padding: Rows of zeros above and below the map.
        height: Rows of the map.
    """

    kernel: int
    stride: int
    padding: int
    height: int

    def of(self, first: int, last: int) -> tuple[Range, Range]:
        """The input rows of the output rows from `first` to `last`, and the numbers of zero rows above and below."""
        low = first * self.stride - self.padding
        high = (last - 1) * self.stride - self.padding + self.kernel
        return (max(low, 0), min(high, self.height)), (max(-low, 0), max(high - self.height, 0))


Convolve = Callable[[Tensor, Range], Tensor]


class Windowed(MapNode):
    """A convolution, zero-padded.

    Args:
        shape: Shape of the result.
        source: The input.
        window: Rows of the input.
        convolve: Convolves rows after adding the given numbers of zero rows above and below.
    """

    owns_result = True

    def __init__(self, shape: torch.Size, source: MapNode, window: Window, convolve: Convolve) -> None:
        super().__init__(shape, source.dtype, (source,))
        self.window, self.convolve = window, convolve

    def needs(self, first: int, last: int) -> list[Range]:
        return [self.window.of(first, last)[0]]

    def compute(self, inputs: list[list[Tensor]], owned: list[bool], first: int, last: int) -> Tensor:
        return self.convolve(join(inputs[0]), self.window.of(first, last)[1])


class Spread(MapNode):
    """Upsampling by which every row becomes `factor` rows.

    Args:
        shape: Shape of the result.
        source: The input.
        factor: Rows for each row of the input.
        function: The upsampling of whole rows.
    """

    def __init__(self, shape: torch.Size, source: MapNode, factor: int, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__(shape, source.dtype, (source,))
        self.factor, self.function = factor, function

    def needs(self, first: int, last: int) -> list[Range]:
        return [(first // self.factor, -(-last // self.factor))]

    def compute(self, inputs: list[list[Tensor]], owned: list[bool], first: int, last: int) -> Tensor:
        skipped = first % self.factor
        return self.function(join(inputs[0]))[..., skipped : skipped + last - first, :]


class Nearest(Spread):
    """Nearest-neighbor upsampling, which a convolution after it may fold into itself."""


class Gathered(MapNode):
    """Downsampling by which `factor` rows become one.

    Args:
        shape: Shape of the result.
        source: The input.
        factor: Rows of the input for each row.
        function: The downsampling of whole groups of rows.
    """

    def __init__(self, shape: torch.Size, source: MapNode, factor: int, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__(shape, source.dtype, (source,))
        self.factor, self.function = factor, function

    def needs(self, first: int, last: int) -> list[Range]:
        return [(first * self.factor, last * self.factor)]

    def compute(self, inputs: list[list[Tensor]], owned: list[bool], first: int, last: int) -> Tensor:
        return self.function(join(inputs[0]))


class Transposed(MapNode):
    """A transposed convolution by 4x4 with stride 2 and padding 1, or upsampling by 2 and a 3x3 convolution.

    Args:
        shape: Shape of the result.
        source: The input.
        convolve: Maps rows of the input to twice as many, as if it were the whole input.
    """

    owns_result = True

    def __init__(self, shape: torch.Size, source: MapNode, convolve: Callable[[Tensor], Tensor]) -> None:
        super().__init__(shape, source.dtype, (source,))
        self.convolve = convolve

    def needs(self, first: int, last: int) -> list[Range]:
        # output row y reads the input rows floor((y + 1) / 2) - 1 and floor((y + 1) / 2)
        return [(max((first + 1) // 2 - 1, 0), min(last // 2 + 1, self.inputs[0].height))]

    def compute(self, inputs: list[list[Tensor]], owned: list[bool], first: int, last: int) -> Tensor:
        start = self.needs(first, last)[0][0]
        rows = self.convolve(join(inputs[0]))
        skipped = first - 2 * start  # the result begins at row 2 * start
        if skipped < 0 or skipped + last - first > rows.shape[-2]:
            raise AssertionError("rows of a transposed convolution are out of range")
        return rows[..., skipped : skipped + last - first, :]


class Extended(MapNode):
    """A map with rows and columns added around it, as `torch.nn.functional.pad` does.

    Args:
        shape: Shape of the result.
        source: The input.
        above: Rows added above.
        columns: Numbers of columns added on the left and right.
        mode: Padding mode.
    """

    owns_result = True

    def __init__(self, shape: torch.Size, source: MapNode, above: int, columns: Range, mode: str) -> None:
        super().__init__(shape, source.dtype, (source,))
        self.above, self.columns, self.mode = above, columns, mode

    def _row(self, row: int) -> int | None:
        """The input row that is copied to a row of the result; `None` if it is a row of zeros."""
        index, height = row - self.above, self.inputs[0].height
        if 0 <= index < height:
            return index
        if self.mode == "constant":
            return None
        if self.mode == "replicate":
            return min(max(index, 0), height - 1)
        if self.mode == "reflect":
            return -index if index < 0 else 2 * (height - 1) - index
        return index % height

    def needs(self, first: int, last: int) -> list[Range]:
        rows = [row for row in map(self._row, range(first, last)) if row is not None]
        if not rows:  # only zeros, made in the shape of any row
            rows = [min(max(first - self.above, 0), self.inputs[0].height - 1)]
        return [(min(rows), max(rows) + 1)]

    def compute(self, inputs: list[list[Tensor]], owned: list[bool], first: int, last: int) -> Tensor:
        start = self.needs(first, last)[0][0]
        rows = join(inputs[0])
        wide = F.pad(rows, (*self.columns, 0, 0), mode=self.mode) if any(self.columns) else rows
        copied = [None if row is None else row - start for row in map(self._row, range(first, last))]
        if copied == list(range(wide.shape[-2])):
            return wide if wide is not rows else wide.clone()
        return torch.cat(list(_runs(wide, copied)), dim=-2)


def _runs(x: Tensor, rows: list[int | None]) -> Iterator[Tensor]:
    """The given rows of `x`, neighbors together; `None` is a row of zeros."""
    position = 0
    while position < len(rows):
        row, end = rows[position], position + 1
        if row is None:
            yield torch.zeros_like(x[..., :1, :])
        else:
            while end < len(rows) and rows[end] == row + end - position:
                end += 1
            yield x[..., row : row + end - position, :]
        position = end
