"""What differs between two networks, row by row, with the cost of each difference; and between weights of one."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vaezoo.analysis.costs import RowCost, costs
from vaezoo.errors import InputError
from vaezoo.nn.vae import VAE
from vaezoo.specs.model import HALVES, ModelSpec


@dataclass(frozen=True)
class RowChange:
    """What became of a row: `place` is where it stands in each network, `said` what changed in words, and the
    parameters and GMACs are those of the second network less those of the first."""

    place: str
    block: str
    said: str
    params: int
    gmacs: float


@dataclass(frozen=True)
class TensorChange:
    """How far apart a tensor of two sets of weights is: largest and mean absolute difference, and the mean absolute
    value of the first."""

    name: str
    shape: tuple[int, ...]
    largest: float
    mean: float
    scale: float


def compare_specs(a: ModelSpec, b: ModelSpec, size: int = 256) -> list[RowChange]:
    """The rows in which two networks differ, and those of the same words that cost more or less; their costs add up.

    Args:
        a: The one.
        b: The other.
        size: Pixels per side of the image that GMACs are for.

    Raises:
        InputError: If `size` is no multiple of a network's `size_multiple`.
    """
    changes = [RowChange(part, "", said, 0, 0.0) for part in ("image", "latent") if (said := _part(a, b, part))]
    rows_a, rows_b = (costs(spec, size).rows for spec in (a, b))
    for half in HALVES:
        pairs = _aligned([r for r in rows_a if r.half == half], [r for r in rows_b if r.half == half])
        changes += [change for pair in pairs if (change := _row(*pair))]
    return changes


def compare_weights(a: VAE, b: VAE) -> list[TensorChange]:
    """How far apart the tensors of two models of one network are, the farthest for its size first.

    Raises:
        InputError: If the networks differ.
    """
    if a.spec.hash != b.spec.hash:
        raise InputError(f"{a.spec.label} and {b.spec.label} are two networks; their tensors do not correspond")
    others: Mapping[str, Tensor] = b.state_dict()
    changes = [_tensor(name, tensor, others[name]) for name, tensor in a.state_dict().items()]
    return sorted(changes, key=lambda change: -change.mean / max(change.scale, 1e-12))


def _part(a: ModelSpec, b: ModelSpec, part: str) -> str:
    return _words(a.to_dict()[part], b.to_dict()[part])


def _aligned(a: Sequence[RowCost], b: Sequence[RowCost]) -> Iterator[tuple[RowCost | None, RowCost | None]]:
    """The rows of a half side by side, by their blocks; None where one network has no such row."""
    matcher = difflib.SequenceMatcher(None, [row.block for row in a], [row.block for row in b], autojunk=False)
    for _, start_a, end_a, start_b, end_b in matcher.get_opcodes():
        shared = min(end_a - start_a, end_b - start_b)
        yield from zip(a[start_a : start_a + shared], b[start_b : start_b + shared], strict=True)
        yield from ((row, None) for row in a[start_a + shared : end_a])
        yield from ((None, row) for row in b[start_b + shared : end_b])


def _row(a: RowCost | None, b: RowCost | None) -> RowChange | None:
    """The change of one row, or None where there is none."""
    if a is None or b is None:
        row, sign, word = (b, 1, "added") if a is None else (a, -1, "removed")
        said = f"{word}: {', '.join(f'{key} {value}' for key, value in row.arguments.items())}"
        return RowChange(f"{row.half}.{row.index}", row.block, said, sign * row.params, sign * row.gmacs)
    said = _words({"block": a.block, **a.arguments}, {"block": b.block, **b.arguments})
    params, gmacs = b.params - a.params, b.gmacs - a.gmacs
    if not said and not params and not gmacs:
        return None
    place = f"{a.half}.{a.index}" + (f" → {b.index}" if a.index != b.index else "")
    return RowChange(place, b.block, said or "same row, other neighbours", params, gmacs)


def _words(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """`heads 0 → 4, layers 1 → 2`; a key that one of them leaves at its default is a "–" there."""
    changed = [key for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key)]
    return ", ".join(f"{key} {a.get(key, '–')} → {b.get(key, '–')}" for key in changed)


def _tensor(name: str, a: Tensor, b: Tensor) -> TensorChange:
    difference = (a.double() - b.double()).abs()
    largest, mean, scale = difference.max().item(), difference.mean().item(), a.double().abs().mean().item()
    return TensorChange(name, tuple(a.shape), largest, mean, scale)
