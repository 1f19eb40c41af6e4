"""Which rows of which maps the rows of a map are computed from, and their computation."""

from torch import Tensor

from vaezoo.inference.strips.nodes import MapNode, Range


def order_of(node: MapNode) -> list[MapNode]:
    """The maps that `node` is computed from, back to stored ones, each after its inputs; ends with `node`."""
    found: dict[MapNode, None] = {}
    _add(node, found)
    return list(found)


def _add(node: MapNode, found: dict[MapNode, None]) -> None:
    if node not in found:  # not a function inside `order_of`: one that calls itself would keep the maps until the
        for source in node.inputs:  # garbage collector finds the cycle
            _add(source, found)
        found[node] = None


def ranges_of(order: list[MapNode], node: MapNode, first: int, last: int) -> dict[MapNode, Range]:
    """The rows of each map that the rows from `first` to `last` of `node` are computed from."""
    ranges = {node: (first, last)}
    for current in reversed(order):
        if current.stored is not None:
            continue
        for source, (low, high) in zip(current.inputs, current.needs(*ranges[current]), strict=True):
            known = ranges.get(source)
            ranges[source] = (low, high) if known is None else (min(low, known[0]), max(high, known[1]))
    return ranges


def evaluate(order: list[MapNode], ranges: dict[MapNode, Range], node: MapNode, spent: list[MapNode]) -> Tensor:
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
                pieces = source.stored.pieces(*needed)
                if sum(piece.shape[-2] for piece in pieces) != needed[1] - needed[0]:
                    raise AssertionError(f"rows {needed} of a map are not in memory any more")
                inputs.append(pieces)
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
