"""Check trees against signatures: the keyword-only arguments of a class are its keys, its type hints are the rules.

Networks, weights records, recipes, ablations, lock files, `config.json` and overrides are all checked here. The checker
collects every fault before it raises an error.
"""

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypeVar, Union, runtime_checkable

from vaezoo.specs.faults import FAILED, Faults, choices_text, join, listing, type_name, unknown, value_name
from vaezoo.specs.marks import Between, Inlined, Items, Kinds, Pattern
from vaezoo.specs.tree import Node, short

T = TypeVar("T")
REQUIRED: Any = inspect.Parameter.empty


class Field(NamedTuple):
    """The type hint of a key, and its default or `REQUIRED`."""

    hint: Any
    default: Any


@runtime_checkable
class SelfChecking(Protocol):
    """A dataclass with rules that involve several keys; they are checked once every single key is right."""

    def find_faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and the text of each fault, such as `("source.url", "needs pickle_only: true")`."""


def check(tree: Node, target: type[T]) -> T:
    """Build a dataclass from a tree.

    Args:
        tree: A mapping whose keys are the keyword-only arguments of `target`.
        target: The dataclass; its type hints are the rules, and it may be `SelfChecking`.

    Raises:
        SpecError: With every fault of the tree and its location.
    """
    faults = Faults()
    value = convert(tree, target, "", faults)
    faults.check()
    return value


@functools.cache
def fields_of(target: type) -> dict[str, Field]:
    """Return the keys of a class: its keyword-only arguments, with the keys of `Inlined` ones in their place."""
    fields: dict[str, Field] = {}
    for name, field in _keyword_only(target).items():
        inner = inlined_in(target).get(name)
        fields |= fields_of(inner) if inner else {name: field}
    return fields


@functools.cache
def inlined_in(target: type) -> dict[str, type]:
    """Return the `Inlined` arguments of a class, each with the class whose keys take its place."""
    return {
        name: mark.target or typing.get_args(field.hint)[0]
        for name, field in _keyword_only(target).items()
        for mark in getattr(field.hint, "__metadata__", ())
        if isinstance(mark, Inlined)
    }


def arguments_for(target: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of a class for values by key, with `Inlined` arguments built from their keys."""
    arguments = dict(values)
    for name, inner in inlined_in(target).items():
        own = {key: arguments.pop(key) for key in list(arguments) if key in fields_of(inner)}
        arguments[name] = inner(**arguments_for(inner, own)) if dataclasses.is_dataclass(inner) else own
    return arguments


def _keyword_only(target: type) -> dict[str, Field]:
    hints = typing.get_type_hints(inspect.getattr_static(target, "__init__"), include_extras=True)
    parameters = inspect.signature(target).parameters.values()
    return {p.name: Field(hints[p.name], p.default) for p in parameters if p.kind is p.KEYWORD_ONLY}


def check_keys(
    node: Node,
    fields: Mapping[str, Field],
    owner: str,
    path: str,
    faults: Faults,
    shared: Mapping[str, Node] = types.MappingProxyType({}),
) -> dict[str, Any]:
    """Check a mapping key by key.

    Args:
        node: The mapping.
        fields: Its keys.
        owner: What has these keys, for messages.
        path: Path of `node` in its file.
        faults: Collects the faults.
        shared: Values for keys that the mapping leaves out, from elsewhere in the file.

    Returns:
        The values of the keys that are there, each converted to its type or `FAILED`.
    """
    if not isinstance(node.value, dict):
        faults.add(node.location, path, f"expected a mapping of {listing(fields)}, got {value_name(node)}")
        return {}
    for key in node.value:
        if key not in fields:
            faults.add(node.keys[key], join(path, key), unknown(key, fields, f"key for {owner}"))
    given = {key: (child, join(path, key)) for key, child in node.value.items() if key in fields}
    for key, child in shared.items():
        if key in fields:
            given.setdefault(key, (child, f"shared.{key}"))
    if absent := [key for key, field in fields.items() if field.default is REQUIRED and key not in given]:
        choices = choices_text(fields[absent[0]].hint) if len(absent) == 1 else ""
        text = f"{absent[0]}: {choices}; it is required" if choices else listing(absent)
        faults.add(node.location, path, f"missing {text} for {owner}")
    return {key: convert(child, fields[key].hint, where, faults) for key, (child, where) in given.items()}


def pick(node: Node, kinds: Kinds, path: str, faults: Faults) -> Any:
    """Return the kind that a mapping names, or `FAILED`."""
    if not isinstance(node.value, dict) or kinds.key not in node.value:
        example = f"{{{kinds.key}: {next(iter(kinds.table))}, …}}"
        return faults.add(node.location, path, f"expected a mapping with a {kinds.key}, such as {example}")
    return convert(node.value[kinds.key], Annotated[str, kinds.table], join(path, kinds.key), faults)


def convert(node: Node, hint: Any, path: str, faults: Faults) -> Any:
    """Convert a node to a type.

    An integer becomes a float where a float is expected; the hint `Node` leaves a node as it is.

    Args:
        node: The value.
        hint: A type hint, which may have marks of this module: `Annotated[float, Between(0, 1)]`.
        path: Path of `node` in its file.
        faults: Collects the faults.

    Returns:
        The converted value, or `FAILED`.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        inner, *marks = arguments
        if isinstance(marks[0], Kinds):
            return _tagged(node, inner, marks[0], path, faults)
        value = convert(node, inner, path, faults)
        return value if value is FAILED or value is None else _marked(node, value, marks, path, faults)
    if hint is Node or hint is Any:
        return node if hint is Node else node.plain()
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _record(node, hint, path, faults)
    if origin in (Union, types.UnionType):
        return _union(node, hint, path, faults)
    if not _fits(hint, node):
        return faults.add(node.location, path, f"expected {type_name(hint)}, got {value_name(node)}")
    if origin is tuple:
        items = [convert(child, arguments[0], f"{path}[{i}]", faults) for i, child in enumerate(node.value)]
        return FAILED if any(item is FAILED for item in items) else tuple(items)
    if origin is dict:
        values = {key: convert(child, arguments[1], join(path, key), faults) for key, child in node.value.items()}
        return FAILED if any(value is FAILED for value in values.values()) else values
    return float(node.value) if hint is float else node.value


def _record(node: Node, target: type, path: str, faults: Faults) -> Any:
    own = Faults()
    values = check_keys(node, fields_of(target), target.__name__, path, own)
    return _build(node, target, values, path, own, faults)


def _tagged(node: Node, target: type, kinds: Kinds, path: str, faults: Faults) -> Any:
    own, fields = Faults(), dict(fields_of(target))
    takes_arguments = fields.pop("arguments", None) is not None
    kind = pick(node, kinds, path, own)
    if kind is FAILED:  # the other keys of the kind are unknown, but those of `target` can be checked
        for key in node.value if isinstance(node.value, dict) else ():
            if key in fields:
                convert(node.value[key], fields[key].hint, join(path, key), own)
        return _build(node, target, {}, path, own, faults)
    extra = fields_of(kinds.table[kind]) if takes_arguments else {}
    owner = kinds.table[kind] if takes_arguments else target
    values = check_keys(node, fields | extra, owner.__name__, path, own)
    if takes_arguments:
        values["arguments"] = {key: values.pop(key) for key in list(values) if key in extra}
    return _build(node, target, values, path, own, faults)


def _build(node: Node, target: type, values: dict[str, Any], path: str, own: Faults, faults: Faults) -> Any:
    """Build a dataclass from the values of its keys, unless there are `own` faults, which are added to `faults`."""
    value = FAILED if own.lines else target(**arguments_for(target, values))
    if isinstance(value, SelfChecking):
        for inside, text in value.find_faults():
            value = own.add(node.at(inside).location, join(path, inside), text)
    faults.lines |= own.lines
    return value


def _union(node: Node, hint: Any, path: str, faults: Faults) -> Any:
    if node.value is None and type(None) in typing.get_args(hint):
        return None
    attempts = []
    for option in typing.get_args(hint):
        trial = Faults()
        value = convert(node, option, path, trial)
        if value is not FAILED:
            return value
        if _fits(option, node):
            attempts.append(trial)
    if len(attempts) == 1:  # only one option is for values like this one, so its own faults are the helpful ones
        faults.lines |= attempts[0].lines
        return FAILED
    return faults.add(node.location, path, f"expected {type_name(hint)}, got {value_name(node)}")


def _fits(hint: Any, node: Node) -> bool:
    """Whether a node is of the general type of a hint, whatever it contains."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        return _fits(typing.get_args(hint)[0], node)
    if origin is Literal:
        return any(type(node.value) is type(a) and node.value == a for a in typing.get_args(hint))
    if origin is dict or dataclasses.is_dataclass(hint):
        return isinstance(node.value, dict)
    if origin is tuple:
        return isinstance(node.value, list)
    return type(node.value) is hint or (hint is float and type(node.value) is int)


def _marked(node: Node, value: Any, marks: list[Any], path: str, faults: Faults) -> Any:
    for mark in marks:
        if isinstance(mark, Mapping) and value not in mark:
            return faults.add(node.location, path, unknown(value, mark, path.rpartition(".")[2]))
        if isinstance(mark, Between) and not mark.low <= value <= mark.high:
            return faults.add(node.location, path, f"expected {mark.low:,} to {mark.high:,}, got {value:,}")
        if isinstance(mark, Pattern) and not mark.regex.fullmatch(value):
            return faults.add(node.location, path, f"expected {mark.name}, got {short(value)}")
        if isinstance(mark, Items) and not mark.least <= len(value) <= mark.most:
            return faults.add(node.location, path, f"expected {mark}, got {len(value)}")
        if isinstance(mark, Items) and mark.distinct and len(set(value)) < len(value):
            return faults.add(node.location, path, "expected every item once")
    return value
