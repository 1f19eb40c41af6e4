"""Text to located trees: every value knows the file, line and column it came from.

YAML is read by PyYAML's event parser alone, so nothing is constructed from tags; scalars follow the YAML 1.2 core
schema (`1e-6` is a number, `no` is a string). Anchors, aliases, tags and duplicate keys are faults.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from vaezoo.errors import SpecError
from vaezoo.files import read_bytes

MAX_BYTES = 256 * 1024  # a network is about 2 KiB; the limits keep hostile files cheap
MAX_NODES = 20_000
MAX_DEPTH = 12

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE, _FALSE = re.compile(r"true|True|TRUE"), re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,18}|[-+]?[0-9]{1,3}(_[0-9]{3}){1,5}")  # 21_970_983 reads better than 21970983
_BASED = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_ODD_FLOAT = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True)
class Place:
    """Where a value stands: `source:line:column`, or the source alone where the text has no lines of ours."""

    source: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}:{self.column}"


@dataclass
class Node:
    """A scalar, a list of nodes or a dict of nodes, with its place; `keys` holds the places of a dict's keys."""

    value: Any
    place: Place
    keys: dict[str, Place] = field(default_factory=dict)

    def plain(self) -> Any:
        """The value as plain Python data."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value


def read_tree(path: str | Path) -> Node:
    """The tree of a YAML or JSON file (by suffix).

    Raises:
        FileError: If the file cannot be read or is larger than `MAX_BYTES`.
        SpecError: If the text is not well-formed.
    """
    content = read_bytes(path, MAX_BYTES)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8 text (byte {error.start})") from error
    parse = parse_json if Path(path).suffix == ".json" else parse_yaml
    return parse(text, str(path))


def parse_yaml(text: str, source: str) -> Node:
    """The tree of a YAML text; `source` names it in errors."""
    events = _events(text, source)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            break
    else:
        raise SpecError(f"{source}: empty; a mapping is expected")
    root = _Builder(source, events).build(next(events), depth=0)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            _fail(_place(event, source), "a second document; one file holds one")
    return root


def parse_scalar(text: str, place: Place) -> Node:
    """The value of one command-line setting, by the same rules as a file: `16`, `null`, `conv_4x4`, `[1, 2]`."""
    node = parse_yaml(text, str(place)) if text.strip() else Node(None, place)
    return from_plain(node.plain(), place)


def parse_json(text: str, source: str) -> Node:
    """The tree of a JSON text; places are the source alone."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in items:
            if key in result:
                raise SpecError(f"{source}: duplicate key {key!r}")
            result[key] = value
        return result

    try:
        data = json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"{source}: not JSON ({error})") from error
    return from_plain(data, Place(source))


def from_plain(data: Any, place: Place) -> Node:
    """A tree of plain Python data, every node at `place`.

    Raises:
        SpecError: If the data is too deep, too large, or holds something that YAML could not.
    """
    return _plain_node(data, place, depth=0, budget=iter(range(MAX_NODES)))


def _plain_node(data: Any, place: Place, depth: int, budget: Iterator[int]) -> Node:
    if depth > MAX_DEPTH or next(budget, None) is None:
        _fail(place, f"too deep or too large (limits: {MAX_DEPTH} levels, {MAX_NODES:,} values)")
    if isinstance(data, Mapping):
        for key in data:
            if not isinstance(key, str):
                _fail(place, f"key {key!r} is not a string")
        children = {key: _plain_node(value, place, depth + 1, budget) for key, value in data.items()}
        return Node(children, place, dict.fromkeys(children, place))
    if isinstance(data, (list, tuple)):
        return Node([_plain_node(value, place, depth + 1, budget) for value in data], place)
    if data is not None and not isinstance(data, (bool, int, float, str)):
        _fail(place, f"{data!r} is no value of a spec (null, true, false, number, text, list or mapping)")
    if isinstance(data, float) and not math.isfinite(data):
        _fail(place, f"{data!r} is not a finite number")
    if isinstance(data, int) and abs(data) >= 10**18:
        _fail(place, "the number is too large")
    return Node(data, place)


def _events(text: str, source: str) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source)
        raise SpecError(f"{place}: not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # PyYAML lets int() and chr() errors through
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"{source}: not YAML: {error}") from error


class _Builder:
    def __init__(self, source: str, events: Iterator[Any]):
        self.source, self.events, self.count = source, events, 0

    def build(self, event: Any, depth: int) -> Node:
        place = _place(event, self.source)
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_NODES:
            _fail(place, f"too deep or too large (limits: {MAX_DEPTH} levels, {MAX_NODES:,} values)")
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            _fail(place, "anchors and aliases are not used here; write the value out")
        if event.tag:
            _fail(place, f"tags are not used here; remove {event.tag!r}")
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(place, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(place, depth)
        return Node(event.value if event.style else _scalar(event.value, place), place)

    def sequence(self, place: Place, depth: int) -> Node:
        children = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            children.append(self.build(event, depth + 1))
        return Node(children, place)

    def mapping(self, place: Place, depth: int) -> Node:
        children, keys = {}, {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.build(event, depth + 1)
            if not isinstance(event, yaml.ScalarEvent) or not event.value:
                _fail(key.place, "a key must be a word")
            name = event.value  # keys are always text: `on:` is the word "on"
            if name in children:
                _fail(key.place, f"duplicate key {name!r}; first at {keys[name]}")
            keys[name] = key.place
            children[name] = self.build(next(self.events), depth + 1)
        return Node(children, place, keys)


def _scalar(text: str, place: Place) -> Any:
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return bool(_TRUE.fullmatch(text))
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _ODD_FLOAT.fullmatch(text) or (_FLOAT.fullmatch(text) and not math.isfinite(float(text))):
        _fail(place, f"{text} is not a finite number")
    return float(text) if _FLOAT.fullmatch(text) else text


def _place(event: Any, source: str) -> Place:
    return Place(source, event.start_mark.line + 1, event.start_mark.column + 1)


def _fail(place: Place, text: str) -> NoReturn:
    raise SpecError(f"{place}: {text}")
