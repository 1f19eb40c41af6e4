"""Trees against signatures: the keyword-only arguments of a class are its keys, its type hints are the rules.

One checker serves YAML files, `config.json`, `overrides=` and `--set`. It collects every fault before it raises.
"""

import dataclasses
import difflib
import functools
import inspect
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, Union

from vaezoo.errors import SpecError
from vaezoo.specs.tree import Location, Node, short

FAILED = object()  # what a value becomes when it has a fault; the fault itself is in `Faults`
REQUIRED = inspect.Parameter.empty
MAX_SHOWN = 100  # faults in one message


@dataclass(frozen=True)
class Between:
    """A mark for `Annotated[int, Between(1, 64)]`: the smallest and largest number allowed."""

    low: float
    high: float


@dataclass(frozen=True)
class Inlined:
    """A mark for `Annotated[NormConfig, Inlined()]`: the keys of that dataclass stand among those of its owner."""


class Field(NamedTuple):
    """One key: its type hint and its frozen default, or `REQUIRED`."""

    hint: Any
    default: Any


class Faults:
    """The faults of one file, in the order found, each once: a shared key's would stand for every row."""

    def __init__(self) -> None:
        self.lines: dict[str, None] = {}

    def add(self, location: Location, path: str, text: str) -> object:
        """Note a fault; returns `FAILED`."""
        self.lines[f"{location}: {path}: {text}" if path else f"{location}: {text}"] = None
        return FAILED

    def check(self) -> None:
        """Raise `SpecError` with all faults if there are any."""
        lines = list(self.lines)
        if len(lines) > MAX_SHOWN:
            lines[MAX_SHOWN:] = [f"… and {len(lines) - MAX_SHOWN:,} faults more"]
        if lines:
            raise SpecError("\n".join(lines))


@functools.cache
def fields_of(target: type) -> dict[str, Field]:
    """The keys that `target` (a block, or a keyword-only dataclass) takes, with those of inlined dataclasses."""
    fields: dict[str, Field] = {}
    for name, field in _keyword_only(target).items():
        inner = inlined_in(target).get(name)
        fields |= fields_of(inner) if inner else {name: field}
    return fields


@functools.cache
def inlined_in(target: type) -> dict[str, type]:
    """The dataclasses that `target` takes as arguments and whose keys stand among its own."""
    hints = {name: field.hint for name, field in _keyword_only(target).items()}
    marked = {name: typing.get_args(hint) for name, hint in hints.items() if typing.get_origin(hint) is Annotated}
    return {name: inner for name, (inner, *marks) in marked.items() if Inlined() in marks}


def arguments_for(target: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of `target` from checked values by key: inlined dataclasses are built from their keys."""
    arguments = dict(values)
    for name, inner in inlined_in(target).items():
        own = {key: arguments.pop(key) for key in fields_of(inner) if key in arguments}
        arguments[name] = inner(**arguments_for(inner, own))
    return arguments


def _keyword_only(target: type) -> dict[str, Field]:
    hints = typing.get_type_hints(target.__init__, include_extras=True)
    parameters = inspect.signature(target).parameters.values()
    return {p.name: Field(hints[p.name], p.default) for p in parameters if p.kind is p.KEYWORD_ONLY}


def fill(node: Node, target: type, path: str, faults: Faults, skip: Collection[str] = ()) -> dict[str, Any]:
    """The checked arguments of `target` that a mapping spells out; keys in `skip` are somebody else's."""
    if not isinstance(node.value, dict):
        faults.add(node.location, path, f"expected a mapping of {_listing(fields_of(target))}, got {_shown(node)}")
        return {}
    fields, arguments = fields_of(target), {}
    for key, child in node.value.items():
        if key in fields:
            arguments[key] = convert(child, fields[key].hint, _join(path, key), faults)
        elif key not in skip:
            faults.add(node.keys[key], _join(path, key), unknown(key, [*fields, *skip], f"key for {target.__name__}"))
    return arguments


def missing(arguments: Mapping[str, Any], target: type) -> list[str]:
    """The required keys of `target` that `arguments` lacks."""
    return [key for key, field in fields_of(target).items() if field.default is REQUIRED and key not in arguments]


def record(node: Node, target: type, path: str, faults: Faults) -> Any:
    """A dataclass from a mapping, or `FAILED`."""
    own = Faults()
    arguments = fill(node, target, path, own)
    if isinstance(node.value, dict) and (absent := missing(arguments, target)):
        own.add(node.location, path, f"missing {_listing(absent)}")
    faults.lines |= own.lines
    return FAILED if own.lines else target(**arguments_for(target, arguments))


def convert(node: Node, hint: Any, path: str, faults: Faults) -> Any:
    """The value of `node` as `hint` says (an int becomes a float where a float is declared), or `FAILED`."""
    if typing.get_origin(hint) is Annotated:
        inner, *marks = typing.get_args(hint)
        value = convert(node, inner, path, faults)
        return value if value is FAILED or value is None else _marked(node, value, marks, path, faults)
    if dataclasses.is_dataclass(hint):
        return record(node, hint, path, faults)
    if typing.get_origin(hint) in (Union, types.UnionType):
        return _union(node, hint, path, faults)
    if typing.get_origin(hint) is tuple:
        return _list(node, hint, path, faults)
    value = _scalar(node.value, hint)
    return faults.add(node.location, path, _expected(hint, node)) if value is FAILED else value


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """`unknown key 'layer' for DownBlock; did you mean 'layers'?`, or what is known (40 of it) where nothing is near.

    Args:
        name: What was written.
        known: What could have been.
        what: A noun and where it stands, "key for DownBlock".
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    remedy = f"did you mean {_listing([repr(n) for n in near], 'or')}?" if near else f"known: {_listing(_first(known))}"
    head, _, tail = what.partition(" ")
    return f"unknown {head} {short(name)}{' ' + tail if tail else ''}; {remedy}"


def _first(names: list[str], most: int = 40) -> list[str]:
    return names if len(names) <= most else [*names[:most], f"{len(names) - most:,} more"]


def _scalar(value: Any, hint: Any) -> Any:
    if typing.get_origin(hint) is Literal:
        return value if any(type(value) is type(a) and value == a for a in typing.get_args(hint)) else FAILED
    if hint is float and type(value) is int:
        return float(value)
    return value if type(value) is hint else FAILED


def _union(node: Node, hint: Any, path: str, faults: Faults) -> Any:
    options = typing.get_args(hint)
    if node.value is None and type(None) in options:
        return None
    attempts = []
    for option in options:
        trial = Faults()
        value = convert(node, option, path, trial)
        if value is not FAILED:
            return value
        attempts.append(trial)
    real = [a for option, a in zip(options, attempts, strict=True) if _kind_fits(option, node)]
    if len(real) == 1:
        faults.lines |= real[0].lines
        return FAILED
    return faults.add(node.location, path, _expected(hint, node))


def _kind_fits(hint: Any, node: Node) -> bool:
    """Whether `hint` is for values of this node's kind, so that its own fault is the one worth telling."""
    if typing.get_origin(hint) is Annotated:
        return _kind_fits(typing.get_args(hint)[0], node)
    if dataclasses.is_dataclass(hint):
        return isinstance(node.value, dict)
    if typing.get_origin(hint) is tuple:
        return isinstance(node.value, list)
    return typing.get_origin(hint) is not Literal and _scalar(node.value, hint) is not FAILED


def _list(node: Node, hint: Any, path: str, faults: Faults) -> Any:
    if not isinstance(node.value, list):
        return faults.add(node.location, path, _expected(hint, node))
    item = typing.get_args(hint)[0]
    values = tuple(convert(child, item, f"{path}[{index}]", faults) for index, child in enumerate(node.value))
    return FAILED if any(value is FAILED for value in values) else values


def _marked(node: Node, value: Any, marks: list[Any], path: str, faults: Faults) -> Any:
    for mark in marks:
        if isinstance(mark, Mapping) and value not in mark:
            return faults.add(node.location, path, unknown(value, mark, path.rpartition(".")[2]))
        if isinstance(mark, Between) and not mark.low <= value <= mark.high:
            return faults.add(node.location, path, f"expected {mark.low:,} to {mark.high:,}, got {value:,}")
    return value


def _expected(hint: Any, node: Node) -> str:
    return f"expected {_name(hint)}, got {_shown(node)}"


def _name(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _name(arguments[0])
    if origin is Literal:
        return _listing([repr(a) for a in arguments], "or")
    if origin in (Union, types.UnionType):
        return _listing([_name(a) for a in arguments], "or")
    if origin is tuple:
        return f"a list (each item {_name(arguments[0])})"
    if dataclasses.is_dataclass(hint):
        return "a mapping"
    return {int: "an integer", float: "a number", str: "text", bool: "true or false", type(None): "null"}[hint]


def _shown(node: Node) -> str:
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    words = {type(None): "null", bool: str(node.value).lower()}
    return words.get(type(node.value)) or short(node.value)


def _listing(words: Iterable[str], last: str = "and") -> str:
    words = list(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else (words[0] if words else "nothing")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
