"""The checker of `specs`, given the tables of this package."""

from collections.abc import Mapping
from typing import Any

from vaezoo.errors import SpecError
from vaezoo.nn.blocks import BLOCKS
from vaezoo.nn.distributions import LATENTS
from vaezoo.specs.model import HALVES, ModelSpec, check_model
from vaezoo.specs.overrides import override
from vaezoo.specs.tree import Node

MAX_LAYERS = 512  # of all rows together; building takes milliseconds for each, however narrow it is


def check_spec(tree: Node, name: str | None = None) -> ModelSpec:
    """The network that a tree describes; raises `SpecError` with all its faults."""
    return _limited(check_model(tree, BLOCKS, LATENTS, name))


def change_spec(spec: ModelSpec, changes: Mapping[str, Any]) -> ModelSpec:
    """`spec` with overrides such as `{"latent.channels": 16, "encoder.*.layers": 3}`."""
    return _limited(override(spec, changes, BLOCKS, LATENTS))


def _limited(spec: ModelSpec) -> ModelSpec:
    layers = sum(row.arguments.get("layers", 1) for half in HALVES for row in getattr(spec, half))
    if layers > MAX_LAYERS:
        raise SpecError(
            f"{spec.encoder[0].location}: {layers:,} layers in all rows together; the limit is {MAX_LAYERS}"
        )
    return spec
