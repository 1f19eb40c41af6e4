"""Nodes of the graph that describes how rows of a feature map are computed from rows of others.

Rows are positions along height, the last dimension but one of a map; ranges of rows are half-open.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from vaezoo.inference.strips.moments import GroupMoments

Range = tuple[int, int]


class Stored:
    """The rows of a map that are in memory, as strips from top to bottom."""

    def __init__(self) -> None:
        self._strips: list[tuple[int, Tensor]] = []  # first row, rows
        self._borrowed: list[tuple[int, Tensor]] = []

    def append(self, first: int, rows: Tensor) -> None:
        """Add the next strip, which begins at row `first`."""
        self._strips.append((first, rows))

    def borrow(self, first: int, rows: Tensor) -> None:
        """Add rows of another process, in the memory format of the strips, until `give_back`."""
        like = self._strips[0][1]
        if rows.ndim == 4 and like.stride(1) == 1:
            rows = rows.contiguous(memory_format=torch.channels_last)
        self._borrowed.append((first, rows))

    def give_back(self) -> None:
        """Free the rows of other processes."""
        self._borrowed.clear()

    def pieces(self, first: int, last: int) -> list[Tensor]:
        """Views of the strips that together are the rows from `first` to `last`."""
        found = []
        for start, rows in sorted((*self._strips, *self._borrowed), key=lambda strip: strip[0]):
            end = start + rows.shape[-2]
            if start < last and first < end:
                low, high = max(first, start) - start, min(last, end) - start
                found.append(rows if high - low == rows.shape[-2] else rows[..., low:high, :])
        return found

    def release(self, before: int) -> None:
        """Free the strips that end at row `before` or above it."""
        while self._strips and self._strips[0][0] + self._strips[0][1].shape[-2] <= before:
            del self._strips[0]


class MapNode:
    """A map of shape (..., H, W), described by how its rows follow from rows of other maps.

    Args:
        shape: Shape of the whole map.
        dtype: Its dtype.
        inputs: The maps from which it is computed.

    Attributes:
        stored: Its rows, once they were computed and kept; its inputs are dropped then.
        moments: Statistics of its channels, once they were computed.
        is_sum: Whether it is the sum of two maps, such as the result of a residual layer.
        owns_result: Whether `compute` returns a new tensor, which a single reader may overwrite.
    """

    owns_result = False

    def __init__(self, shape: torch.Size, dtype: torch.dtype, inputs: tuple["MapNode", ...] = ()) -> None:
        self.shape, self.dtype, self.inputs = shape, dtype, inputs
        self.stored: Stored | None = None
        self.moments: GroupMoments | None = None
        self.is_sum = False

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.shape[-2]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole map."""
        return self.shape.numel() * self.dtype.itemsize

    def keep(self, stored: Stored) -> None:
        """Read the rows from memory from now on."""
        self.stored, self.inputs = stored, ()

    def needs(self, first: int, last: int) -> list[Range]:
        """The rows of each input from which the rows from `first` to `last` are computed."""
        return [(first, last)] * len(self.inputs)

    def compute(self, inputs: list[list[Tensor]], owned: list[bool], first: int, last: int) -> Tensor:
        """The rows from `first` to `last`.

        Args:
            inputs: For each input the rows that it needs, in pieces from top to bottom.
            owned: For each input whether its rows may be overwritten.
            first: First row.
            last: Row after the last one.
        """
        raise NotImplementedError


def join(pieces: list[Tensor]) -> Tensor:
    """Pieces of consecutive rows as one tensor."""
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-2)


class Local(MapNode):
    """A function of tensors that computes every row from the same row of each of its inputs.

    Args:
        shape: Shape of the result.
        dtype: Dtype of the result.
        inputs: The maps among its arguments.
        function: Called with the rows of each input; returns rows of the result.
        inplace: The same function, which may overwrite its first argument; `None` if there is none.
    """

    def __init__(
        self,
        shape: torch.Size,
        dtype: torch.dtype,
        inputs: tuple[MapNode, ...],
        function: Callable[[list[Tensor], int, int], Tensor],
        inplace: Callable[[list[Tensor], int, int], Tensor] | None = None,
    ) -> None:
        super().__init__(shape, dtype, inputs)
        self.function, self.inplace = function, inplace
        self.owns_result = inplace is not None

    def compute(self, inputs: list[list[Tensor]], owned: list[bool], first: int, last: int) -> Tensor:
        run = self.inplace if self.inplace is not None and owned[0] else self.function
        return run([join(pieces) for pieces in inputs], first, last)


class Reading(MapNode):
    """A map whose rows are read or computed by a function, such as an image on disk.

    Args:
        shape: Shape of the map.
        dtype: Its dtype.
        read: Returns the rows of a range.
    """

    def __init__(self, shape: torch.Size, dtype: torch.dtype, read: Callable[[int, int], Tensor]) -> None:
        super().__init__(shape, dtype)
        self.read = read

    def compute(self, inputs: list[list[Tensor]], owned: list[bool], first: int, last: int) -> Tensor:
        return self.read(first, last)


def of_tensor(x: Tensor, rows: Range | None = None) -> MapNode:
    """A map that is in memory.

    Args:
        x: The whole map.
        rows: The range of rows to keep; `None` for all.
    """
    node = MapNode(x.shape, x.dtype)
    first, last = rows or (0, node.height)
    stored = Stored()
    stored.append(first, x[..., first:last, :])
    node.keep(stored)
    return node
