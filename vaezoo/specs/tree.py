"""Trees of plain data in which every value knows its location: file, line and column."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from vaezoo.errors import SpecError

# These limits keep malicious files cheap to refuse.
MAX_NODES = 20_000
MAX_DEPTH = 12
MAX_KEY, MAX_TEXT = 100, 10_000  # characters
MAX_NUMBER = 1e18

# All control characters but tab and line feed, and unpaired surrogates.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Location:
    """Where a value was written.

    Args:
        source: File name, or the option or argument that gave the value.
        line: Line, counted from 1; `None` if the source has no lines.
        column: Column, counted from 1.
    """

    source: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}:{self.column}"


@dataclass(slots=True)
class Node:
    """A value with its location.

    Args:
        value: A scalar, a list of nodes, or a dict from key to node.
        location: Location of the value.
        keys: Locations of the keys, if the value is a dict.
    """

    value: Any
    location: Location
    keys: dict[str, Location] = field(default_factory=dict)

    def plain(self) -> Any:
        """Return the value as plain Python data, without locations."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def at(self, path: str) -> "Node":
        """Return the node at a path such as `source.file` or `files[0].sha256`, or the deepest one that exists."""
        children: dict[str, Node] = {}
        if isinstance(self.value, dict):
            children = self.value
        elif isinstance(self.value, list):
            children = {f"[{index}]": child for index, child in enumerate(self.value)}
        for key, child in children.items():  # a key may have dots of its own
            if path == key or path.startswith((f"{key}.", f"{key}[")):
                return child.at(path[len(key) :].removeprefix("."))
        return self


def from_plain(data: Any, location: Location) -> Node:
    """Build a tree from plain Python data.

    Args:
        data: `None`, booleans, finite numbers, text, and lists and mappings of these.
        location: Location of every node.

    Raises:
        SpecError: If the data is too deep, too large, or holds a value that YAML cannot express.
    """
    return _from_plain(data, location, depth=0, budget=iter(range(MAX_NODES)))


def short(value: Any) -> str:
    """Return `repr(value)`, shortened to at most 60 characters for messages."""
    text = repr(value[:60] if isinstance(value, str) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def _from_plain(data: Any, location: Location, depth: int, budget: Iterator[int]) -> Node:
    if depth > MAX_DEPTH or next(budget, None) is None:
        fail_large(location)
    if isinstance(data, Mapping):
        for key in data:
            check_key(key, location)
        children = {key: _from_plain(value, location, depth + 1, budget) for key, value in data.items()}
        return Node(children, location, dict.fromkeys(children, location))
    if isinstance(data, (list, tuple)):
        return Node([_from_plain(value, location, depth + 1, budget) for value in data], location)
    if data is not None and not isinstance(data, (bool, int, float, str)):
        kind = type(data).__name__
        fail(location, f"expected null, true, false, a number, text, a list or a mapping, got {kind}")
    return scalar_node(data, location)


def scalar_node(value: Any, location: Location) -> Node:
    """Return a scalar as a node; raise `SpecError` if it exceeds the limits of this module."""
    if isinstance(value, (int, float)) and not abs(value) < MAX_NUMBER:  # true for nan as well
        fail(location, f"expected a finite number below {MAX_NUMBER:g}")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        fail(location, f"text of {len(value):,} characters; the limit is {MAX_TEXT:,}")
    if isinstance(value, str) and _CONTROL.search(value):
        fail(location, f"{short(value)} contains a control character or an unpaired surrogate")
    return Node(value, location)


def check_key(key: Any, location: Location) -> None:
    """Raise `SpecError` unless `key` is short printable text."""
    if not isinstance(key, str) or not key.isprintable() or not 1 <= len(key) <= MAX_KEY:
        fail(location, f"a key is 1 to {MAX_KEY} printable characters, not {short(key)}")


def fail(location: Location, text: str) -> NoReturn:
    """Raise `SpecError` for one fault."""
    raise SpecError(f"{location}: {text}")


def fail_large(location: Location) -> NoReturn:
    """Raise `SpecError` for a tree that exceeds `MAX_DEPTH` or `MAX_NODES`."""
    fail(location, f"too deep or too large (limits: {MAX_DEPTH} levels, {MAX_NODES:,} values)")
