"""Faults of checked files: collect them, and word them."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union

from vaezoo.errors import SpecError
from vaezoo.specs.tree import Location, Node, short

FAILED: Any = object()  # stands for a value that has a fault
MAX_SHOWN = 100  # faults in one message
MOST_CHOICES = 6  # values that the message about a missing key lists
# What the message about an unknown name adds to the known ones, by noun.
_HINTS = {"block": "; import the module of a block of your own first (commands: --import MODULE)"}


class Faults:
    """The faults found in one file, in order and without repetition."""

    def __init__(self) -> None:
        self.lines: dict[str, None] = {}

    def add(self, location: Location, path: str, text: str) -> Any:
        """Add a fault and return `FAILED`."""
        self.lines[f"{location}: {path}: {text}" if path else f"{location}: {text}"] = None
        return FAILED

    def check(self) -> None:
        """Raise `SpecError` with all faults, if there are any."""
        lines = list(self.lines)
        if len(lines) > MAX_SHOWN:
            lines[MAX_SHOWN:] = [f"… and {len(lines) - MAX_SHOWN:,} more faults"]
        if lines:
            raise SpecError("\n".join(lines))


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """Return the message for an unknown name: `unknown key 'layer' for DownBlock; did you mean 'layers'?`.

    Args:
        name: The name.
        known: All known names; if none is similar they are listed, the first 12 of more than 40.
        what: A noun, optionally with its context: "block", "key for DownBlock".
    """
    known = list(known)
    noun, _, context = what.partition(" ")
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    listed = known if len(known) <= 40 else [*known[:12], f"{len(known) - 12:,} more"]
    all_known = f"known: {listing(listed)}{_HINTS.get(noun, '')}"
    remedy = f"did you mean {listing([repr(n) for n in near], 'or')}?" if near else all_known
    return f"unknown {noun} {short(name)}{' ' + context if context else ''}; {remedy}"


def type_name(hint: Any) -> str:
    """Return a type hint in words: "an integer or null"."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return type_name(arguments[0])
    if origin is Literal:
        return listing([repr(a) for a in arguments], "or")
    if origin in (Union, types.UnionType):
        return listing([type_name(a) for a in arguments], "or")
    if origin is tuple:
        return "a list" if arguments[0] is Node else f"a list (each item {type_name(arguments[0])})"
    if origin is dict or dataclasses.is_dataclass(hint):
        return "a mapping"
    return {int: "an integer", float: "a number", str: "text", bool: "true or false", type(None): "null"}[hint]


def value_name(node: Node) -> str:
    """Return a value in words: "a mapping", "null", "'abc'"."""
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    words = {type(None): "null", bool: str(node.value).lower()}
    return words.get(type(node.value)) or short(node.value)


def listing(words: Iterable[str], last: str = "and") -> str:
    """Return words as a list: "a, b and c"."""
    words = list(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else (words[0] if words else "nothing")


def join(path: str, key: str) -> str:
    """Return the path of a key of the mapping at `path`."""
    return f"{path}.{key}" if path and key else path or key


def choices_text(hint: Any) -> str:
    """Return the few values that a hint names, as "vgg or alex", or nothing for other hints."""
    names: list[Any] = []
    if typing.get_origin(hint) is Annotated:
        hint, *marks = typing.get_args(hint)
        names = next(([*mark] for mark in marks if isinstance(mark, Mapping)), names)
    if typing.get_origin(hint) is Literal:
        names = [*typing.get_args(hint)]
    return listing(map(str, names), "or") if 1 < len(names) <= MOST_CHOICES else ""
