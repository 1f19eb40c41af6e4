"""Tables of the arguments of blocks, losses, regularizers and discriminators, from their signatures and docstrings."""

import inspect
import re
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from result_tables import table_of

from vaezoo.nn.blocks import BLOCKS
from vaezoo.nn.own_blocks import is_own
from vaezoo.specs.check import REQUIRED, fields_of, inlined_in
from vaezoo.specs.marks import Between


def blocks() -> str:
    """One section per block: its description, and its keys from its signature."""
    return "\n\n".join(_block(name, block) for name, block in BLOCKS.items() if not is_own(name))


def _block(name: str, block: type) -> str:
    about, _, _ = (inspect.getdoc(block) or "").partition("\nArgs:")
    table = f"\n\n{arguments(block)}" if fields_of(block) else ""
    return f"### `{name}`\n\n{about.strip()}{table}"


def arguments(block: type) -> str:
    """Table of the keyword-only arguments of a class."""
    meanings = _meanings(block)
    rows = ["key | values | default | meaning", "--- | --- | --- | ---"]
    for key, field in fields_of(block).items():
        default = "" if field.default is REQUIRED else "`null`" if field.default is None else f"`{field.default}`"
        rows.append(f"`{key}` | {', '.join(_values(field.hint))} | {default} | {' '.join(meanings[key].split())}")
    return table_of(rows)


def _meanings(target: type) -> dict[str, str]:
    """Return the description of each key, from the docstrings of a class and of the dataclasses inlined in it."""
    _, _, arguments = (inspect.getdoc(target) or "").partition("\nArgs:")
    meanings = dict(re.findall(r"^    (\w+): ((?:.+\n?)(?:      +.+\n?)*)", arguments, re.MULTILINE))
    for inner in inlined_in(target).values():
        meanings |= _meanings(inner)
    return meanings


def _values(hint: Any, marks: tuple[Any, ...] = ()) -> list[str]:
    """Describe the values that a type hint of a block allows."""
    for mark in marks:
        if isinstance(mark, Mapping):
            return [f"`{key}`" for key in mark] + (["`null`"] if type(None) in typing.get_args(hint) else [])
        if isinstance(mark, Between):
            return [f"{mark.low:,} to {mark.high:,}"]
    if typing.get_origin(hint) is Annotated:
        return _values(typing.get_args(hint)[0], hint.__metadata__)
    if typing.get_origin(hint) is tuple:
        return [f"a list of {', '.join(_values(typing.get_args(hint)[0]))}"]
    if hint is type(None):
        return ["`null`"]
    if typing.get_origin(hint) is Literal:
        return [f"`{value}`" for value in typing.get_args(hint)]
    return [value for option in typing.get_args(hint) for value in _values(option)]


def objectives(table: Mapping[str, type]) -> str:
    """One section per loss, regularizer or discriminator."""
    return "\n\n".join(_block(name, kind) for name, kind in table.items())
