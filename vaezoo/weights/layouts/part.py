"""A part of a foreign checkpoint: one of our tensors under the names it has there."""

from collections.abc import Mapping
from typing import NamedTuple

Shapes = Mapping[str, tuple[int, ...]]


class Part(NamedTuple):
    """One of our tensors in a foreign file: under one name, or cut along its first dimension over several.

    Args:
        key: Our state-dict key.
        names: The foreign names, in order; several for queries, keys and values kept apart.
        shape: Of each of them there; may have further dimensions of size 1 (a 1x1 convolution for a linear layer).
    """

    key: str
    names: tuple[str, ...]
    shape: tuple[int, ...]
