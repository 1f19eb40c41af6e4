"""Parse YAML and JSON text into trees that know the line and column of every value.

YAML is read by PyYAML's event parser alone, so nothing is constructed from tags. Scalars follow the YAML 1.2 core
schema: `1e-6` is a number, `no` is a string. Anchors, aliases, tags and duplicate keys are errors.
"""

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from vaezoo.errors import SpecError
from vaezoo.io.files import read_bytes
from vaezoo.specs.tree import (
    MAX_DEPTH,
    MAX_NODES,
    Location,
    Node,
    check_key,
    fail,
    fail_large,
    from_plain,
    scalar_node,
    short,
)

MAX_BYTES = 256 * 1024  # a network takes about 2 KiB
MAX_CACHED = 16 * 1024  # larger texts are parsed every time, so that the cache stays small

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE, _FALSE = re.compile(r"true|True|TRUE"), re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,18}|[-+]?[0-9]{1,3}(_[0-9]{3}){1,5}")  # 21_970_983 is easier to read than 21970983
_BASED = re.compile(r"0o[0-7]{1,19}|0x[0-9a-fA-F]{1,14}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"([-+]?)\.(inf|Inf|INF|nan|NaN|NAN)")


def read_tree(path: str | Path) -> Node:
    """Read a YAML file, or a JSON file if its name ends in `.json`.

    The result may be shared with other callers; copy it before changing it.

    Raises:
        FileError: If the file cannot be read or is larger than `MAX_BYTES`.
        SpecError: If the text is not well-formed.
    """
    content = read_bytes(path, MAX_BYTES)
    return (_cached if len(content) <= MAX_CACHED else parse_content)(content, str(path))


def parse_content(content: bytes, source: str) -> Node:
    """Parse the content of a YAML file, or of a JSON file if the name of its source ends in `.json`.

    Raises:
        SpecError: If the text is not well-formed.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{source}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    parse = parse_json if Path(source).suffix == ".json" else parse_yaml
    return parse(text, source)


_cached = functools.lru_cache(maxsize=128)(parse_content)  # the same networks and records are read many times


def parse_yaml(text: str, source: str) -> Node:
    """Parse a YAML document.

    Args:
        text: Exactly one document.
        source: Name of the text in error messages.

    Raises:
        SpecError: If the text is not well-formed.
    """
    events = _events(text, source)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            break
    else:
        raise SpecError(f"{source}: empty; expected a YAML document")
    root = _Builder(source, events).build(next(events), depth=0)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            fail(_location(event.start_mark, source), "second document; expected one document per file")
    return root


def parse_scalar(text: str, location: Location) -> Node:
    """Parse the value of a command-line setting like a value in a file: `16`, `null`, `conv_4x4`, `[1, 2]`.

    Args:
        text: The value; empty text is null.
        location: Location of every node of the result.

    Raises:
        SpecError: If the text is not well-formed.
    """
    node = parse_yaml(text, str(location)) if text.strip() else Node(None, location)
    return from_plain(node.plain(), location)


def parse_json(text: str, source: str) -> Node:
    """Parse a JSON document; the location of every value is the source alone.

    Args:
        text: The document.
        source: Name of the text in error messages.

    Raises:
        SpecError: If the text is not well-formed or has duplicate keys.
    """

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
        raise SpecError(f"{Location(source, error.lineno, error.colno)}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits, or very deep nesting
        raise SpecError(f"{source}: not JSON that vaezoo can read: {error}") from error
    return from_plain(data, Location(source))


def _events(text: str, source: str) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        raise SpecError(f"{_location(error.problem_mark, source)}: not YAML: {error.problem}") from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        location = Location(source, before.count("\n") + 1, error.position - before.rfind("\n"))
        raise SpecError(f"{location}: not YAML: character U+{error.character:04X} is not allowed") from error
    except (ValueError, OverflowError) as error:  # PyYAML lets errors of int() and chr() through
        raise SpecError(f"{source}: not YAML: a %YAML version or \\U escape is out of range ({error})") from error


class _Builder:
    def __init__(self, source: str, events: Iterator[Any]) -> None:
        self.source, self.events, self.count = source, events, 0

    def build(self, event: Any, depth: int) -> Node:
        location = _location(event.start_mark, self.source)
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_NODES:
            fail_large(location)
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            fail(location, "anchors and aliases are not supported; write the value out")
        if event.tag:
            fail(location, f"tags are not supported; remove {short(event.tag)}")
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(location, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(location, depth)
        return scalar_node(event.value if event.style else _scalar(event.value), location)

    def sequence(self, location: Location, depth: int) -> Node:
        children = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            children.append(self.build(event, depth + 1))
        return Node(children, location)

    def mapping(self, location: Location, depth: int) -> Node:
        children: dict[str, Node] = {}
        keys: dict[str, Location] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(event, depth + 1)
            name = event.value
            if name in children:
                fail(key, f"duplicate key {short(name)}; first at {keys[name]}")
            keys[name] = key
            children[name] = self.build(next(self.events), depth + 1)
        return Node(children, location, keys)

    def key(self, event: Any, depth: int) -> Location:
        """The location of a key; a key is always text: `on:` is the word "on"."""
        location = self.build(event, depth).location
        if not isinstance(event, yaml.ScalarEvent):
            fail(location, "expected text as a key, got a list or mapping")
        check_key(event.value, location)
        return location


def _scalar(text: str) -> Any:
    """A plain scalar of the YAML 1.2 core schema; integers that are too large become floats."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if special := _NOT_FINITE.fullmatch(text):
        return float(special[1] + special[2])
    return float(text) if _FLOAT.fullmatch(text) else text


def _location(mark: Any, source: str) -> Location:
    return Location(source, mark.line + 1, mark.column + 1)
