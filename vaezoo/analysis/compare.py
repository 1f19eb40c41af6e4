"""Differences between two networks, row by row with their costs, and between two sets of weights of one network."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vaezoo.analysis.costs import RowCost, costs
from vaezoo.errors import InputError
from vaezoo.nn.unwrap import unwrapped
from vaezoo.nn.vae import VAE
from vaezoo.specs.model import HALVES, ModelSpec


@dataclass(frozen=True)
class RowChange:
    """A difference in one row; the attributes are the keys of `vaezoo diff --json`.

    Attributes:
        place: Half and index of the row, in both networks if they differ.
        block: Key of `BLOCKS`; empty for `image` and `latent`.
        said: The difference in words.
        params: Parameters of the second network minus those of the first.
        gmacs: GMACs of the second network minus those of the first.
    """

    place: str
    block: str
    said: str
    params: int
    gmacs: float


@dataclass(frozen=True)
class TensorChange:
    """Difference of one tensor between two sets of weights.

    Attributes:
        name: State-dict key.
        shape: Shape of the tensor.
        largest: Largest absolute difference.
        mean: Mean absolute difference.
        scale: Mean absolute value of the first tensor.
    """

    name: str
    shape: tuple[int, ...]
    largest: float
    mean: float
    scale: float


def compare_specs(a: ModelSpec, b: ModelSpec, size: int = 256) -> list[RowChange]:
    """List the rows that differ between two networks, with those that are equal but cost more or less.

    Args:
        a: First network.
        b: Second network.
        size: Pixels per side of the image that GMACs are counted for.

    Returns:
        The changes, whose parameters and GMACs add up to the difference between the networks.

    Raises:
        InputError: If `size` is not a multiple of the `size_multiple` of both networks.
    """
    shapes = {key: _differences(a.to_dict()[key], b.to_dict()[key]) for key in ("image", "latent")}
    changes = [RowChange(key, "", summary, 0, 0.0) for key, summary in shapes.items() if summary]
    rows_a, rows_b = (costs(spec, size).rows for spec in (a, b))
    for half in HALVES:
        pairs = _aligned([r for r in rows_a if r.half == half], [r for r in rows_b if r.half == half])
        changes += [change for pair in pairs if (change := _row(*pair))]
    return changes


def compare_weights(a: VAE, b: VAE) -> list[TensorChange]:
    """Compare the weights of two models of the same network.

    Returns:
        One change for each tensor, sorted by decreasing mean difference relative to the mean absolute value.

    Raises:
        InputError: If the networks differ.
    """
    a, b = unwrapped(a), unwrapped(b)
    if a.spec.hash != b.spec.hash:
        raise InputError(f"{a.spec.label} and {b.spec.label} are different networks; their tensors do not correspond")
    others: Mapping[str, Tensor] = b.state_dict()
    changes = [_tensor(name, tensor, others[name]) for name, tensor in a.state_dict().items()]
    return sorted(changes, key=lambda change: -change.mean / max(change.scale, 1e-12))


def _aligned(a: Sequence[RowCost], b: Sequence[RowCost]) -> Iterator[tuple[RowCost | None, RowCost | None]]:
    """Pairs of rows of a half, aligned by their blocks; `None` where one network has no such row."""
    matcher = difflib.SequenceMatcher(None, [row.block for row in a], [row.block for row in b], autojunk=False)
    for _, start_a, end_a, start_b, end_b in matcher.get_opcodes():
        shared = min(end_a - start_a, end_b - start_b)
        yield from zip(a[start_a : start_a + shared], b[start_b : start_b + shared], strict=True)
        yield from ((row, None) for row in a[start_a + shared : end_a])
        yield from ((None, row) for row in b[start_b + shared : end_b])


def _row(a: RowCost | None, b: RowCost | None) -> RowChange | None:
    """The change of one row, or `None` if nothing changes."""
    if b is None:
        return None if a is None else _one_sided(a, -1, "removed")
    if a is None:
        return _one_sided(b, 1, "added")
    summary = _differences({"block": a.block, **a.arguments}, {"block": b.block, **b.arguments})
    params, gmacs = b.params - a.params, b.gmacs - a.gmacs
    if not summary and not params and not gmacs:
        return None
    place = f"{a.half}.{a.index}" + (f" → {b.index}" if a.index != b.index else "")
    return RowChange(place, b.block, summary or "same row, other neighbours", params, gmacs)


def _one_sided(row: RowCost, sign: int, verb: str) -> RowChange:
    summary = f"{verb}: {', '.join(f'{key} {value}' for key, value in row.arguments.items())}"
    return RowChange(f"{row.half}.{row.index}", row.block, summary, sign * row.params, sign * row.gmacs)


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """Words such as `heads 0 → 4, layers 1 → 2`; "–" stands for a key at its default."""
    changed = [key for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key)]
    return ", ".join(f"{key} {a.get(key, '–')} → {b.get(key, '–')}" for key in changed)


def _tensor(name: str, a: Tensor, b: Tensor) -> TensorChange:
    difference = (a.double() - b.double()).abs()
    largest, mean, scale = difference.max().item(), difference.mean().item(), a.double().abs().mean().item()
    return TensorChange(name, tuple(a.shape), largest, mean, scale)
