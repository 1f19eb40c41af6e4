"""A run whose maps are split by rows over several processes."""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vaezoo.distributed import SINGLE, ProcessGroup
from vaezoo.errors import InputError
from vaezoo.inference.strips.graph import order_of, ranges_of
from vaezoo.inference.strips.moments import GroupMoments
from vaezoo.inference.strips.nodes import MapNode, Range, Stored, join
from vaezoo.inference.strips.strip_run import Run


@dataclass(eq=False)
class SplitRun(Run):
    """A run in which each process computes and keeps its share of the rows of every map.

    All processes run the same code on maps of the same shapes, so that each knows which rows the others have and need.
    Before the strips of a map are computed, rows of the maps that they are computed from are exchanged.

    Args:
        group: The processes.
    """

    group: ProcessGroup = SINGLE

    def rows(self, height: int) -> Range:
        """The rows of this process."""
        return self._rows_of(self.group.rank, height)

    def step(self, node: MapNode, order: list[MapNode]) -> int:
        """Rows of a strip, at most as many as a process has; the same for all processes."""
        return min(super().step(node, order), -(-node.height // self.group.world_size))

    def strips(self, node: MapNode, release: bool = True) -> Iterator[tuple[int, Tensor]]:
        """The strips of this process."""
        with self._borrowed(node):
            yield from super().strips(node, release)

    def tensor(self, node: MapNode, dtype: torch.dtype | None = None) -> Tensor:
        """The whole map, for every process."""
        return self.all_rows(super().tensor(node, dtype), -2, node.height)

    def all_rows(self, x: Tensor, dim: int, height: int) -> Tensor:
        """The rows of all processes."""
        positions = x.shape[dim] // self._count(self.group.rank, height)
        shapes = []
        for rank in range(self.group.world_size):
            shape = list(x.shape)
            shape[dim] = positions * self._count(rank, height)
            shapes.append(shape)
        return torch.cat(self._of_all(x, shapes), dim=dim)

    def total(self, x: Tensor) -> Tensor:
        """The sum over all processes, in the order of their ranks."""
        return torch.stack(self._of_all(x, [list(x.shape)] * self.group.world_size)).sum(dim=0)

    def merged(self, moments: GroupMoments) -> GroupMoments:
        """The moments of all processes, merged in the order of their ranks."""
        merged, own = GroupMoments(moments.groups), moments.packed()
        for count, mean, squares in self._of_all(own, [list(own.shape)] * self.group.world_size):
            merged.merge(int(count.flatten()[0]), mean, squares)
        return merged

    def _rows_of(self, rank: int, height: int) -> Range:
        processes = self.group.world_size
        if height < processes:
            text = f"a map of {height} row{'s' * (height > 1)} cannot be split over {processes} processes"
            raise InputError(f"{text}: start at most {height}, or take a higher image")
        return height * rank // processes, height * (rank + 1) // processes

    def _count(self, rank: int, height: int) -> int:
        first, last = self._rows_of(rank, height)
        return last - first

    def _of_all(self, x: Tensor, shapes: list[list[int]]) -> list[Tensor]:
        """A tensor of each process, whose shapes are known."""
        me, x = self.group.rank, x.contiguous()
        parts = [x if rank == me else x.new_empty(shape) for rank, shape in enumerate(shapes)]
        others = [rank for rank in range(self.group.world_size) if rank != me]
        self.group.exchange([(rank, x) for rank in others], [(rank, parts[rank]) for rank in others])
        return parts

    @contextlib.contextmanager
    def _borrowed(self, node: MapNode) -> Iterator[None]:
        """Copy the rows of others that this process needs to compute its rows of `node`."""
        order = order_of(node)
        sources = [(source, source.stored) for source in order if source.stored is not None and source is not node]
        ranks = range(self.group.world_size)
        needs = [ranges_of(order, node, *self._rows_of(rank, node.height)) for rank in ranks]
        sent: list[tuple[int, Tensor]] = []
        received: list[tuple[int, Tensor]] = []
        places: list[tuple[Stored, int]] = []
        for source, stored in sources:
            like = stored.pieces(0, source.height)[0]
            for owner, reader in itertools.permutations(ranks, 2):
                has, needed = self._rows_of(owner, source.height), needs[reader][source]
                low, high = max(has[0], needed[0]), min(has[1], needed[1])
                if low < high and owner == self.group.rank:
                    sent.append((reader, join(stored.pieces(low, high)).contiguous()))
                elif low < high and reader == self.group.rank:
                    received.append((owner, like.new_empty((*source.shape[:-2], high - low, source.shape[-1]))))
                    places.append((stored, low))
        self.group.exchange(sent, received)
        for (stored, first), (_, rows) in zip(places, received, strict=True):
            stored.borrow(first, rows)
        del sent, received
        try:
            yield
        finally:
            for _, stored in sources:
                stored.give_back()
