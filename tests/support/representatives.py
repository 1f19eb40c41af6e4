"""Cases of proofs over all networks: one of each family by default, all with `-m slow`."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import pytest

from support.small import small_spec


def family(name: str) -> str:
    """Return the family of a network: networks of one family have the same rows in other numbers and widths."""
    return name.partition("_")[0]


def each_small(names: Iterable[str]) -> list[str]:
    """Return the networks whose small forms of `support.small` differ."""
    return list({small_spec(name).hash: name for name in names}.values())


def one_of_each(cases: Iterable[Any], key: Callable[[Any], Hashable] = family) -> list[Any]:
    """Mark all cases slow but the first with each key."""
    seen: set[Hashable] = set()
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=[pytest.mark.slow] if repeated else [])
        for case in cases
        for repeated in [key(case) in seen or bool(seen.add(key(case)))]
    ]


def first_of(cases: Iterable[Any], count: int = 1) -> list[Any]:
    """Mark all cases slow but the first ones, which show the same mechanism."""
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=[pytest.mark.slow] if n >= count else [])
        for n, case in enumerate(cases)
    ]
