"""The checker of `specs`, given the tables of this package."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaezoo.nn.blocks import BLOCKS
from vaezoo.nn.latents import LATENTS
from vaezoo.specs.model import ModelSpec, check_model
from vaezoo.specs.overrides import override
from vaezoo.specs.tree import Node, read_tree


def check_spec(tree: Node, name: str | None = None) -> ModelSpec:
    """The network that a tree describes; raises `SpecError` with all its faults."""
    return check_model(tree, BLOCKS, LATENTS, name)


def read_spec(path: str | Path, name: str | None = None) -> ModelSpec:
    """The network of a YAML file, named after the file unless `name` says otherwise."""
    return check_spec(read_tree(path), name or Path(path).stem)


def change_spec(spec: ModelSpec, changes: Mapping[str, Any]) -> ModelSpec:
    """`spec` with overrides such as `{"latent.channels": 16, "encoder.*.layers": 3}`."""
    return override(spec, changes, BLOCKS, LATENTS)
