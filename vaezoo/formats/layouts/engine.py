"""A part of a foreign checkpoint: one of our tensors under the names it has there; and the layout they make up."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from vaezoo.errors import CheckpointError
from vaezoo.specs.model import BlockSpec, ModelSpec

Shapes = Mapping[str, tuple[int, ...]]


class Part(NamedTuple):
    """One of our tensors in a foreign file: under one name, or cut along its first dimension over several.

    Args:
        key: Our state-dict key.
        names: The foreign names, in order; several for queries, keys and values kept apart.
        shape: Of each of them there; may have further dimensions of size 1 (a 1x1 convolution for a linear layer).
        fused: The one name under which some files keep what `names` cut.
        last: Whether the foreign tensor has a further dimension before height and width, of which ours is the last
            entry: a causal 3-D convolution on one frame.
    """

    key: str
    names: tuple[str, ...]
    shape: tuple[int, ...]
    fused: str | None = None
    last: bool = False


def check_order(layout: str, half: str, rows: tuple[BlockSpec, ...], order: str) -> None:
    """Raise `CheckpointError` unless the names of the blocks, with spaces between, match the pattern `order`."""
    if not re.fullmatch(order, " ".join(row.block for row in rows)):
        raise CheckpointError(f"layout {layout}: the {half} must be {order}, row by row")


def check_values(layout: str, path: str, said: Mapping[str, Any], fits: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise `CheckpointError` at the first key that is said and whose value does not fit; other keys fit as they are.

    Args:
        layout: Its name, for the error.
        path: The row's place, for the error: `decoder[3]`.
        said: A row's arguments; a key that is missing is at its frozen default.
        fits: The values that a key may have; an empty tuple is for one that must not be said.
    """
    for key, allowed in fits.items():
        if key in said and said[key] not in allowed:
            raise CheckpointError(f"layout {layout} cannot express {path}.{key}: {said[key]!r}")


Parts = Callable[[ModelSpec, Shapes], list[Part]]
ReadOnly = Callable[[ModelSpec, list[Part]], str | None]


def over_time(spec: ModelSpec, parts: list[Part]) -> str | None:
    """Why a network of which the layout has 3-D convolutions cannot be written; None where it has none."""
    if any(part.last for part in parts):
        return "its files hold 3-D convolutions over time, of which a network for single images keeps one slice"
    return None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How another library names the tensors of a network.

    Args:
        about: What it is, in one sentence.
        parts: A function of a spec and the shapes of our state dict that gives the part of each of our tensors, and
            raises `CheckpointError` where the layout cannot express the network.
        prefixes: What a file may put before all names (`first_stage_model.`); other names are then left out.
        drops: Patterns of names that are left out by rule.
        spellings: Older names as (pattern, replacement), brought to those of `parts`.
        statistics: Prefix of packed batch-norm statistics of the latents, where files hold them.
        halves: Whether encoder and decoder are files of their own.
        read_only: A function of a spec and its parts that says why it can be read but not written; None if it can.
    """

    about: str
    parts: Parts
    prefixes: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    spellings: tuple[tuple[str, str], ...] = ()
    statistics: str | None = None
    halves: bool = False
    read_only: ReadOnly = over_time
