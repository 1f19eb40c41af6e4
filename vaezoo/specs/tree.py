"""Text to located trees: every value knows the file, line and column it came from.

YAML is read by PyYAML's event parser alone, so nothing is constructed from tags; scalars follow the YAML 1.2 core
schema (`1e-6` is a number, `no` is a string). Anchors, aliases, tags and duplicate keys are faults.
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from vaezoo.errors import SpecError
from vaezoo.io.files import read_bytes

MAX_BYTES = 256 * 1024  # a network is about 2 KiB; the limits keep hostile files cheap
MAX_KEPT = 16 * 1024  # larger texts are parsed each time, so that what is kept stays small
MAX_NODES = 20_000
MAX_DEPTH = 12
MAX_KEY, MAX_TEXT = 100, 10_000  # characters
MAX_NUMBER = 1e18

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE, _FALSE = re.compile(r"true|True|TRUE"), re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,18}|[-+]?[0-9]{1,3}(_[0-9]{3}){1,5}")  # 21_970_983 reads better than 21970983
_BASED = re.compile(r"0o[0-7]{1,19}|0x[0-9a-fA-F]{1,14}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_ODD_FLOAT = re.compile(r"([-+]?)\.(inf|Inf|INF|nan|NaN|NAN)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # all but tab and line feed, and half surrogates


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: `source:line:column`, or the source alone where the text has no lines of ours."""

    source: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}:{self.column}"


@dataclass(slots=True)
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
    """The tree of a YAML or JSON file (by suffix); readers of the same text share it, so change a copy.

    Raises:
        FileError: If the file cannot be read or is larger than `MAX_BYTES`.
        SpecError: If the text is not well-formed.
    """
    content = read_bytes(path, MAX_BYTES)
    return (_kept if len(content) <= MAX_KEPT else _parsed)(content, str(path))


def _parsed(content: bytes, source: str) -> Node:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{source}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    parse = parse_json if Path(source).suffix == ".json" else parse_yaml
    return parse(text, source)


_kept = functools.lru_cache(maxsize=128)(_parsed)  # networks and records are asked for again and again


def parse_yaml(text: str, source: str) -> Node:
    """The tree of a YAML text; `source` names it in errors."""
    events = _events(text, source)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            break
    else:
        raise SpecError(f"{source}: empty; nothing but comments and white space")
    root = _Builder(source, events).build(next(events), depth=0)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            _fail(_place(event.start_mark, source), "a second document; one file holds one")
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
                raise SpecError(f"{source}: duplicate key {short(key)}")
            result[key] = value
        return result

    try:
        data = json.loads(text, object_pairs_hook=pairs)
    except SpecError:
        raise
    except json.JSONDecodeError as error:
        raise SpecError(f"{Place(source, error.lineno, error.colno)}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets in brackets
        raise SpecError(f"{source}: not JSON that vaezoo reads: {error}") from error
    return from_plain(data, Place(source))


def from_plain(data: Any, place: Place) -> Node:
    """A tree of plain Python data, every node at `place`.

    Raises:
        SpecError: If the data is too deep, too large, or holds something that YAML could not.
    """
    return _plain_node(data, place, depth=0, budget=iter(range(MAX_NODES)))


def short(value: Any) -> str:
    """`repr(value)`, cut to a length that fits a message."""
    text = repr(value[:60] if isinstance(value, str) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def _plain_node(data: Any, place: Place, depth: int, budget: Iterator[int]) -> Node:
    if depth > MAX_DEPTH or next(budget, None) is None:
        _fail_large(place)
    if isinstance(data, Mapping):
        for key in data:
            _check_key(key, place)
        children = {key: _plain_node(value, place, depth + 1, budget) for key, value in data.items()}
        return Node(children, place, dict.fromkeys(children, place))
    if isinstance(data, (list, tuple)):
        return Node([_plain_node(value, place, depth + 1, budget) for value in data], place)
    if data is not None and not isinstance(data, (bool, int, float, str)):
        kind = type(data).__name__
        _fail(place, f"{kind} is no value of a spec (null, true, false, number, text, list or mapping)")
    return _leaf(data, place)


def _leaf(value: Any, place: Place) -> Node:
    if isinstance(value, (int, float)) and not abs(value) < MAX_NUMBER:  # nor is nan
        _fail(place, f"the number is not finite, or not below {MAX_NUMBER:g}")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        _fail(place, f"a text of {len(value):,} characters; the limit is {MAX_TEXT:,}")
    if isinstance(value, str) and _CONTROL.search(value):
        _fail(place, f"{short(value)} holds a control character or half a surrogate pair")
    return Node(value, place)


def _check_key(key: Any, place: Place) -> None:
    if not isinstance(key, str) or not key.isprintable() or not 1 <= len(key) <= MAX_KEY:
        _fail(place, f"a key is 1 to {MAX_KEY} printable characters, not {short(key)}")


def _events(text: str, source: str) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        raise SpecError(f"{_place(error.problem_mark, source)}: not YAML: {error.problem}") from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(source, before.count("\n") + 1, error.position - before.rfind("\n"))
        raise SpecError(f"{place}: not YAML: character U+{error.character:04X} is not allowed") from error
    except (ValueError, OverflowError) as error:  # PyYAML lets those of int() and chr() through
        raise SpecError(f"{source}: not YAML: a %YAML version or \\U escape is out of range ({error})") from error


class _Builder:
    def __init__(self, source: str, events: Iterator[Any]):
        self.source, self.events, self.count = source, events, 0

    def build(self, event: Any, depth: int) -> Node:
        place = _place(event.start_mark, self.source)
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_NODES:
            _fail_large(place)
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            _fail(place, "anchors and aliases are not used here; write the value out")
        if event.tag:
            _fail(place, f"tags are not used here; remove {short(event.tag)}")
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(place, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(place, depth)
        return _leaf(event.value if event.style else _scalar(event.value), place)

    def sequence(self, place: Place, depth: int) -> Node:
        children = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            children.append(self.build(event, depth + 1))
        return Node(children, place)

    def mapping(self, place: Place, depth: int) -> Node:
        children, keys = {}, {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(event, depth + 1)
            name = event.value
            if name in children:
                _fail(key, f"duplicate key {short(name)}; first at {keys[name]}")
            keys[name] = key
            children[name] = self.build(next(self.events), depth + 1)
        return Node(children, place, keys)

    def key(self, event: Any, depth: int) -> Place:
        """The place of a key, which is always text: `on:` is the word "on"."""
        place = self.build(event, depth).place
        if not isinstance(event, yaml.ScalarEvent):
            _fail(place, "a key is a word, not a list or mapping")
        _check_key(event.value, place)
        return place


def _scalar(text: str) -> Any:
    """A plain scalar by the YAML 1.2 core schema; an integer too large for it becomes a float."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if odd := _ODD_FLOAT.fullmatch(text):
        return float(odd[1] + odd[2])
    return float(text) if _FLOAT.fullmatch(text) else text


def _place(mark: Any, source: str) -> Place:
    return Place(source, mark.line + 1, mark.column + 1)


def _fail(place: Place, text: str) -> NoReturn:
    raise SpecError(f"{place}: {text}")


def _fail_large(place: Place) -> NoReturn:
    _fail(place, f"too deep or too large (limits: {MAX_DEPTH} levels, {MAX_NODES:,} values)")
