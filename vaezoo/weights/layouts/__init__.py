"""Layouts: how other libraries name the same tensors. One table serves import and export."""

from collections.abc import Callable, Iterable

from vaezoo.specs.model import ModelSpec
from vaezoo.weights.layouts.documented import documented


def native(spec: ModelSpec, keys: Iterable[str]) -> dict[str, str]:
    """Our own names."""
    return {key: key for key in keys}


# Name -> function of a spec and our keys that gives the foreign key of each, one to one, and raises CheckpointError
# where the layout cannot express the network.
LAYOUTS: dict[str, Callable[[ModelSpec, Iterable[str]], dict[str, str]]] = {"native": native, "documented": documented}
