"""Checks specs against the tables of blocks and latents."""

from collections.abc import Mapping
from typing import Any

from vaezoo.errors import SpecError
from vaezoo.nn.blocks import BLOCKS
from vaezoo.nn.distributions import LATENTS
from vaezoo.nn.own_blocks import import_missing
from vaezoo.specs.model import HALVES, ModelSpec, block_names, check_model
from vaezoo.specs.overrides import override
from vaezoo.specs.tree import Node

MAX_LAYERS = 512  # of a network; each takes milliseconds to build, however narrow it is


def check_spec(tree: Node, name: str | None = None) -> ModelSpec:
    """The spec that a tree describes.

    Args:
        tree: Parsed YAML or JSON of a network.
        name: Name of the network, if it has one.

    Raises:
        SpecError: If the tree has faults; the message lists all of them.
    """
    import_missing(block_names(tree))
    return _limited(check_model(tree, BLOCKS, LATENTS, name))


def change_spec(spec: ModelSpec, changes: Mapping[str, Any]) -> ModelSpec:
    """`spec` with overrides such as `{"latent.channels": 16, "encoder.*.layers": 3}`.

    Raises:
        SpecError: If a path or a value does not fit.
    """
    if any(str(path).endswith(".block") for path in changes):
        import_missing({text for value in changes.values() if isinstance(text := getattr(value, "value", value), str)})
    return _limited(override(spec, changes, BLOCKS, LATENTS))


def _limited(spec: ModelSpec) -> ModelSpec:
    layers = sum(row.arguments.get("layers", 1) for half in HALVES for row in getattr(spec, half))
    if layers > MAX_LAYERS:
        raise SpecError(
            f"{spec.encoder[0].location}: {layers:,} layers in all rows together; the limit is {MAX_LAYERS}"
        )
    return spec
