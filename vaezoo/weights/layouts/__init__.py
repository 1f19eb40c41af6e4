"""Layouts: how other libraries name the same tensors. One function serves import and export."""

from collections.abc import Callable

from vaezoo.specs.model import ModelSpec
from vaezoo.weights.layouts.documented import documented
from vaezoo.weights.layouts.part import Part, Shapes


def native(spec: ModelSpec, shapes: Shapes) -> list[Part]:
    """Our own names."""
    return [Part(key, (key,), shape) for key, shape in shapes.items()]


# Name -> function of a spec and the shapes of our state dict that gives the part of each of our tensors, and raises
# CheckpointError where the layout cannot express the network.
LAYOUTS: dict[str, Callable[[ModelSpec, Shapes], list[Part]]] = {"native": native, "documented": documented}
