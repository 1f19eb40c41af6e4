"""Computes maps strip by strip and decides which of them are kept in memory."""

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaezoo.inference.strips.graph import evaluate, order_of, ranges_of
from vaezoo.inference.strips.moments import GroupMoments
from vaezoo.inference.strips.nodes import MapNode, Range, Stored
from vaezoo.inference.strips.spatial import Windowed


@dataclass(frozen=True)
class Plan:
    """How maps are cut into strips.

    Args:
        strip_bytes: Aimed size of a strip; at least one row is computed at a time.
        kept_positions: Positions (height times width) of the largest map between the convolutions of a residual branch
            that is kept in memory; larger ones are computed again by each step that reads them.
        share: Height of a strip as a share of that of the map; `None` to go by `strip_bytes`.
    """

    strip_bytes: int
    kept_positions: int
    share: float | None = None


@dataclass(eq=False)
class Run:
    """One pass of an image through a half of a network.

    Args:
        plan: How maps are cut into strips.
        fuse: Whether to rewrite convolutions, as `vaezoo.optimize` explains.
        on_strip: Called with the number of values of each strip that was computed and used.

    Attributes:
        held: The nodes to which the code of the network still has access.
        whole: Names of functions that had to be given whole maps.
    """

    plan: Plan
    fuse: bool = True
    on_strip: Callable[[int], object] | None = None
    held: "weakref.WeakSet[Handle]" = field(default_factory=weakref.WeakSet)
    whole: list[str] = field(default_factory=list)

    def rows(self, height: int) -> Range:
        """The rows of a map of a height that this run computes: all of them."""
        return 0, height

    def all_rows(self, x: Tensor, dim: int, height: int) -> Tensor:
        """A tensor made of computed rows, completed to all rows of a map.

        Args:
            x: The tensor.
            dim: The dimension along which it has an equal number of values for each row.
            height: Rows of the map.
        """
        return x

    def total(self, x: Tensor) -> Tensor:
        """A sum over computed rows, completed to the sum over all rows."""
        return x

    def merged(self, moments: GroupMoments) -> GroupMoments:
        """Moments of computed rows, completed to those of all rows."""
        return moments

    def step(self, node: MapNode, order: list[MapNode]) -> int:
        """Rows of a strip of `node`, such that the largest map of `order` has the aimed size; even, for resamplers."""
        largest = max(source.nbytes for source in order if source.stored is None)
        rows = self.plan.strip_bytes * node.height // max(largest, 1)
        if self.plan.share is not None:
            rows = int(self.plan.share * node.height)
        return node.height if rows >= node.height else max(rows - rows % 2, 2)

    def limit_halo(self, node: MapNode) -> None:
        """Compute and keep a map if strips of it would repeat too many rows of the maps before it.

        A sum is kept before upsampling, because the maps after it are larger.
        """
        for source in node.inputs:
            if source.is_sum and source.height < node.height:
                self.store(source)
        order = order_of(node)
        if len(order) < 3 or not (node.is_sum or isinstance(node, Windowed)):
            return
        middle = node.height // 2
        ranges = ranges_of(order, node, middle, middle + 1)
        halo = max((high - low) * node.height / source.height for source, (low, high) in ranges.items())
        step = self.step(node, order)
        if step < node.height and halo > max(step // (4 if node.is_sum else 2), 12):
            self.store(node)

    def strips(self, node: MapNode, release: bool = True) -> Iterator[tuple[int, Tensor]]:
        """The strips of a map from top to bottom, each with its first row.

        Args:
            node: The map.
            release: Whether maps that nothing else reads are freed as they are used up.
        """
        top, bottom = self.rows(node.height)
        if node.stored is not None:
            yield top, torch.cat(node.stored.pieces(0, node.height), dim=-2)
            return
        order = order_of(node)
        spent = self._spent(node, order) if release else []
        step = self.step(node, order)
        final = ranges_of(order, node, max(bottom - step, top), bottom)  # padding may make it read the first rows again
        for first in range(top, bottom, step):
            last = min(first + step, bottom)
            ranges = ranges_of(order, node, first, last)
            for source in spent:
                source.stored.release(min(ranges[source][0], final[source][0]))  # type: ignore[union-attr]
            rows = evaluate(order, ranges, node, spent if last == bottom else [])
            if self.on_strip is not None:
                self.on_strip(rows.numel())
            yield first, rows
            del rows  # before the next one allocates

    def strips_read_again(self, node: MapNode) -> Iterator[tuple[int, Tensor]]:
        """The strips of a map that is computed again later, after all of it was read for moments, keys or sums."""
        self.keep_last_sum(node)
        return self.strips(node, release=False)

    def keep_last_sum(self, node: MapNode) -> None:
        """Store the last sum that a map depends on, so that what leads to this sum is computed only once."""
        sums = [source for source in order_of(node) if source.is_sum and source.stored is None and source is not node]
        if sums:
            self.store(sums[-1])

    def store(self, node: MapNode, groups: int | None = None) -> Stored:
        """Compute a map and keep it in memory.

        Args:
            node: The map.
            groups: Number of groups whose moments are gathered meanwhile; `None` for none.
        """
        if node.stored is None:
            stored, gathered = Stored(), GroupMoments(groups or 1)
            for first, rows in self.strips(node):
                if groups is not None:
                    gathered.add(rows)
                stored.append(first, _own(rows))
            node.keep(stored)
            node.moments = None if groups is None else self.merged(gathered)
        return node.stored  # type: ignore[return-value]

    def gather(self, node: MapNode, groups: int) -> None:
        """Compute the moments of a map; keep the map unless it is large and cheap to compute again."""
        if node.moments is not None and node.moments.groups == groups:
            return
        kept = node.is_sum or node.height * node.shape[-1] <= self.plan.kept_positions
        if node.stored is None and kept:
            self.store(node, groups)
            return
        gathered = GroupMoments(groups)
        stored = node.stored and node.stored.pieces(0, node.height)
        for rows in stored or (rows for _, rows in self.strips_read_again(node)):
            gathered.add(rows)
        node.moments = self.merged(gathered)

    def tensor(self, node: MapNode, dtype: torch.dtype | None = None) -> Tensor:
        """The map as a tensor."""
        top, bottom = self.rows(node.height)
        if node.stored is not None:
            pieces = node.stored.pieces(0, node.height)
            return (pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-2)).to(dtype or node.dtype)
        result: Tensor | None = None
        held = any(handle.node is node for handle in self.held)  # then it may be computed again
        for first, rows in self.strips(node, release=not held):
            if rows.shape[-2] == bottom - top:
                return rows.to(dtype or node.dtype)
            if result is None:
                shape = (*node.shape[:-2], bottom - top, node.shape[-1])
                result = torch.empty(shape, dtype=dtype or node.dtype, device=rows.device)
            result[..., first - top :, :][..., : rows.shape[-2], :] = rows
        if result is None:
            raise AssertionError("a map without rows")
        return result

    def _spent(self, node: MapNode, order: list[MapNode]) -> list[MapNode]:
        """The stored maps that are read for `node` and for nothing else."""
        needed = {source for handle in self.held if handle.node is not node for source in order_of(handle.node)}
        return [source for source in order if source.stored is not None and source not in needed]


@dataclass(eq=False)
class DryRun(Run):
    """A run on the meta device that computes nothing.

    Attributes:
        values: The number of values that would be computed in all strips.
    """

    values: int = 0

    def strips(self, node: MapNode, release: bool = True) -> Iterator[tuple[int, Tensor]]:
        """The map as a single strip."""
        self.values += 0 if node.stored is not None else node.shape.numel()
        yield 0, torch.empty(node.shape, dtype=node.dtype, device="meta")


class Handle:
    """What the code of a network holds of a map; once nobody holds it, only maps computed from it can read it."""

    def __init__(self, run: Run, node: MapNode) -> None:
        self.node = node
        run.held.add(self)


def _own(rows: Tensor) -> Tensor:
    """The rows in memory of their own, if they are a part of something larger."""
    return rows if rows.untyped_storage().nbytes() <= 1.25 * rows.nbytes else rows.clone()
