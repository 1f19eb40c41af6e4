"""Marks in type hints: the rules that a type alone cannot express, such as `Annotated[int, Between(1, 64)]`."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Between:
    """Mark for `Annotated[int, Between(1, 64)]`: the smallest and largest number allowed."""

    low: float
    high: float


@dataclass(frozen=True)
class Items:
    """Mark for `Annotated[tuple[int, ...], Items(1, 64)]`: how many items a list may have."""

    least: int
    most: float = math.inf
    distinct: bool = False

    def __str__(self) -> str:
        if self.most == math.inf:
            return f"at least {self.least} item{'s' * (self.least > 1)}"
        return f"{self.least} items" if self.least == self.most else f"{self.least} to {self.most} items"


@dataclass(frozen=True)
class Pattern:
    """Mark for `Annotated[str, Pattern(COMMIT, "a commit")]`: a regular expression and the name of what it matches."""

    regex: re.Pattern[str]
    name: str


@dataclass(frozen=True, eq=False)  # hashable, although `table` is not
class Kinds:
    """Mark for `Annotated[LossTerm, Kinds(LOSSES)]`: a tagged union, in which the value of `key` picks a class.

    If the marked dataclass has a field `arguments`, it holds the keyword arguments of that class, which stand beside
    the other keys.
    """

    table: Mapping[str, type]
    key: str = "kind"


@dataclass(frozen=True)
class Inlined:
    """Mark for `Annotated[NormConfig, Inlined()]`: the keys of that dataclass stand among those of its owner.

    With a `target`, as in `Annotated[dict[str, Any], Inlined(Adversary)]`, a dict holds the keyword arguments of it.
    """

    target: type | None = None
