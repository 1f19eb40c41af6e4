"""Computes maps strip by strip and decides which of them are kept in memory."""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaezoo.inference.strips.moments import GroupMoments
from vaezoo.inference.strips.nodes import MapNode, Range, Stored
from vaezoo.inference.strips.spatial import Windowed


@dataclass
class Plan:
    """How maps are cut into strips.

    Args:
        strip_bytes: Aimed size of a strip; at least one row is computed at a time.
        kept_bytes: Largest map between the convolutions of a residual branch that is kept in memory; larger ones are
            computed again by each step that reads them.
        share: Height of a strip as a share of that of the map; `None` to go by `strip_bytes`.
    """

    strip_bytes: int
    kept_bytes: int
    share: float | None = None


@dataclass(eq=False)
class Run:
    """One pass of an image through a half of a network.

    Args:
        plan: How maps are cut into strips.
        fuse: Whether to rewrite convolutions, as `vaezoo.optimize` explains.

    Attributes:
        held: The nodes to which the code of the network still has access.
        whole: Names of functions that had to be given whole maps.
    """

    plan: Plan
    fuse: bool = True
    held: "weakref.WeakSet[Handle]" = field(default_factory=weakref.WeakSet)
    whole: list[str] = field(default_factory=list)

    def step(self, node: MapNode, order: list[MapNode]) -> int:
        """Rows of a strip of `node`, such that the largest map of `order` has the aimed size; even, for resamplers."""
        largest = max(source.nbytes for source in order if source.stored is None)
        rows = self.plan.strip_bytes * node.height // max(largest, 1)
        if self.plan.share is not None:
            rows = int(self.plan.share * node.height)
        return node.height if rows >= node.height else max(rows - rows % 2, 2)

    def limit_halo(self, node: MapNode) -> None:
        """Compute and keep a map if strips of it would repeat too many rows of the maps before it."""
        order = _order(node)
        if len(order) < 3 or not (node.is_sum or isinstance(node, Windowed)):
            return
        middle = node.height // 2
        ranges = _ranges(order, node, middle, middle + 1)
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
        if node.stored is not None:
            yield 0, torch.cat(node.stored.pieces(0, node.height), dim=-2)
            return
        order = _order(node)
        spent = self._spent(node, order) if release else []
        step = self.step(node, order)
        for first in range(0, node.height, step):
            last = min(first + step, node.height)
            ranges = _ranges(order, node, first, last)
            for source in spent:
                source.stored.release(ranges[source][0])  # type: ignore[union-attr]
            yield first, _evaluate(order, ranges, node, spent if last == node.height else [])

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
            node.moments = None if groups is None else gathered
        return node.stored  # type: ignore[return-value]

    def gather(self, node: MapNode, groups: int) -> None:
        """Compute the moments of a map; keep the map unless it is large and cheap to compute again."""
        if node.moments is not None and node.moments.groups == groups:
            return
        if node.stored is None and (node.nbytes <= self.plan.kept_bytes or node.is_sum):
            self.store(node, groups)
            return
        node.moments = GroupMoments(groups)
        stored = node.stored and node.stored.pieces(0, node.height)
        for rows in stored or (rows for _, rows in self.strips(node, release=False)):
            node.moments.add(rows)

    def tensor(self, node: MapNode, dtype: torch.dtype | None = None) -> Tensor:
        """The whole map as a tensor."""
        if node.stored is not None:
            pieces = node.stored.pieces(0, node.height)
            return (pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-2)).to(dtype or node.dtype)
        result: Tensor | None = None
        for first, rows in self.strips(node):
            if rows.shape[-2] == node.height:
                return rows.to(dtype or node.dtype)
            if result is None:
                result = torch.empty(node.shape, dtype=dtype or node.dtype, device=rows.device)
            result[..., first : first + rows.shape[-2], :] = rows
        if result is None:
            raise AssertionError("a map without rows")
        return result

    def _spent(self, node: MapNode, order: list[MapNode]) -> list[MapNode]:
        """The stored maps that are read for `node` and for nothing else."""
        needed = {map_ for handle in self.held if handle.node is not node for map_ in _order(handle.node)}
        return [source for source in order if source.stored is not None and source not in needed]


class Handle:
    """What the code of a network holds of a map; once nobody holds it, only maps computed from it can read it."""

    def __init__(self, run: Run, node: MapNode) -> None:
        self.node = node
        run.held.add(self)


def _order(node: MapNode) -> list[MapNode]:
    """The maps that `node` is computed from, back to stored ones, each after its inputs; ends with `node`."""
    found: dict[MapNode, None] = {}

    def visit(current: MapNode) -> None:
        if current not in found:
            for source in current.inputs:
                visit(source)
            found[current] = None

    visit(node)
    return list(found)


def _ranges(order: list[MapNode], node: MapNode, first: int, last: int) -> dict[MapNode, Range]:
    """The rows of each map that the rows from `first` to `last` of `node` are computed from."""
    ranges = {node: (first, last)}
    for current in reversed(order):
        if current.stored is not None:
            continue
        for source, (low, high) in zip(current.inputs, current.needs(*ranges[current]), strict=True):
            known = ranges.get(source)
            ranges[source] = (low, high) if known is None else (min(low, known[0]), max(high, known[1]))
    return ranges


def _evaluate(order: list[MapNode], ranges: dict[MapNode, Range], node: MapNode, spent: list[MapNode]) -> Tensor:
    """The rows of `node`, after computing those of all others once; each is freed after its last reader.

    Args:
        order: The maps in the order of computation, up to `node`.
        ranges: The rows of each.
        node: The last one.
        spent: Stored maps that can be freed after their last reader.
    """
    readers: dict[MapNode, int] = {}
    for current in order:
        for source in current.inputs:
            readers[source] = readers.get(source, 0) + 1
    single = {source for source, count in readers.items() if count == 1}
    rows: dict[MapNode, Tensor] = {}
    for current in order:
        if current.stored is not None:
            continue
        inputs, owned = [], []
        for source, needed in zip(current.inputs, current.needs(*ranges[current]), strict=True):
            readers[source] -= 1
            if source.stored is not None:
                inputs.append(source.stored.pieces(*needed))
                owned.append(False)
                if source in spent and not readers[source]:
                    source.stored.release(source.height)
                continue
            value = rows[source] if readers[source] else rows.pop(source)
            start = ranges[source][0]
            whole = needed == ranges[source]
            inputs.append([value if whole else value[..., needed[0] - start : needed[1] - start, :]])
            owned.append(source.owns_result and whole and source in single)
        rows[current] = current.compute(inputs, owned, *ranges[current])
        del inputs  # before the next one allocates
    return rows[node]


def _own(rows: Tensor) -> Tensor:
    """The rows in memory of their own, if they are a part of something larger."""
    return rows if rows.untyped_storage().nbytes() <= 1.25 * rows.nbytes else rows.clone()
