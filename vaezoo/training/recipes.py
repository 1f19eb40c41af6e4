"""Recipe files: find a recipe by name or path, apply settings, check it, and write it with every key."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from vaezoo.errors import SpecError
from vaezoo.specs.catalog import config_file
from vaezoo.specs.check import check
from vaezoo.specs.parse import parse_scalar, read_tree
from vaezoo.specs.tree import Location, Node
from vaezoo.training.recipe_schema import BOOKKEEPING, Recipe

CHANGEABLE = ("steps", "schedule.steps", "data.workers", "data.cache", *BOOKKEEPING)  # when a run is resumed


def read_recipe(name: str | Path, settings: Mapping[str, Node] | None = None) -> Recipe:
    """Read a recipe and apply settings such as `optimizer.lr=1e-4`.

    Args:
        name: A path that ends in `.yaml`, or the name of a recipe of `configs/train`.
        settings: Path to value, from `parse_settings`. A path leads from key to key; items of a list are counted from
            0: `losses.0.weight`.

    Raises:
        UnknownNameError: If there is no such recipe.
        FileError: If the file cannot be read.
        SpecError: With every fault of the recipe and its location.

    Examples:
        >>> from vaezoo.training.recipes import read_recipe
        >>> read_recipe("quickstart").network
        'vae_f8_z4_micro'
    """
    tree = copy.deepcopy(read_tree(config_file(str(name), "train")))
    for path, node in (settings or {}).items():
        put(tree, path, node)
    return check_recipe(tree)


def check_recipe(tree: Node) -> Recipe:
    """Build a recipe from a tree.

    Raises:
        SpecError: With every fault of the tree and its location.
    """
    return check(tree, Recipe)


def recipe_text(recipe: Recipe) -> str:
    """Return a recipe as YAML with every key; reading it gives the same recipe."""
    return yaml.dump(recipe.to_dict(), Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110)


def without_paths(recipe: Recipe) -> Recipe:
    """Return a recipe in which paths of this machine are shortened to names, for others to read."""
    return replace(
        recipe,
        data=replace(recipe.data, root=recipe.data.root and folder_name(recipe.data.root)),
        validation=replace(recipe.validation, root=recipe.validation.root and folder_name(recipe.validation.root)),
        network=_without_path(recipe.network),
        pretrained=_without_path(recipe.pretrained),
        grow=_without_path(recipe.grow),
    )


def folder_name(folder: str) -> str:
    """Return the last part of the path of a folder or dataset, also of `.`."""
    return Path(folder).resolve().name


def _without_path(name: Any) -> Any:
    """Shorten the paths in a model name such as `local-dir:runs/a`; other values are returned unchanged."""
    if not isinstance(name, str) or name.startswith("hf-hub:"):
        return name
    source, colon, path = name.rpartition(":")
    return source + colon + ",".join(Path(part).name for part in path.split(","))


def check_resumable(before: Recipe, now: Recipe, run: str) -> None:
    """Raise `SpecError` if a run cannot be resumed with another recipe.

    Args:
        before: The recipe with which the run was started.
        now: The recipe with which it is to be resumed.
        run: The run, for messages.
    """
    old, new = _flat(before.to_dict()), _flat(now.to_dict())
    changed = [path for path in old.keys() | new.keys() if old.get(path) != new.get(path) and path not in CHANGEABLE]
    if changed:
        changes = "; ".join(f"{path} was {old.get(path)}, is {new.get(path)}" for path in sorted(changed))
        raise SpecError(
            f"{run}: cannot be resumed with another recipe ({changes}); only {', '.join(CHANGEABLE)} may change. "
            f"to train from its weights with another recipe: vaezoo train {run} --out NEW --set KEY=VALUE"
        )


def _flat(data: Any, path: str = "") -> dict[str, Any]:
    """Nested data as one mapping of paths."""
    if not isinstance(data, dict | list):
        return {path.removeprefix("."): data}
    items = data.items() if isinstance(data, dict) else enumerate(data)
    return {key: value for name, child in items for key, value in _flat(child, f"{path}.{name}").items()}


def put(tree: Node, path: str, node: Node) -> None:
    """Put a node at the path of a setting; mappings on the way that are missing or null are created.

    Args:
        tree: The tree to change.
        path: Keys and indices, separated by dots. What follows `overrides.` is one key.
        node: The new value.

    Raises:
        SpecError: If the path leads into a value without keys, or to an item that a list does not have.
    """
    head, *rest = ["overrides", path.removeprefix("overrides.")] if path.startswith("overrides.") else path.split(".")
    while rest:
        tree = _child(tree, head, node.location)
        head, *rest = rest
    if isinstance(tree.value, list):
        tree.value[_index(tree, head, node.location)] = node
    elif isinstance(tree.value, dict):
        tree.value[head], tree.keys[head] = node, node.location
    else:
        raise SpecError(f"{node.location} leads into a value that has no keys ({tree.location})")


def _child(tree: Node, key: str, location: Location) -> Node:
    children: Any = tree.value
    if isinstance(children, list):
        child: Node = children[_index(tree, key, location)]
        return child
    if not isinstance(children, dict):
        raise SpecError(f"{location} leads into a value that has no keys ({tree.location})")
    if key not in children or children[key].value is None:
        children[key], tree.keys[key] = Node({}, location), location
    return children[key]


def _index(tree: Node, key: str, location: Location) -> int:
    if not key.isdecimal() or int(key) >= len(tree.value):
        raise SpecError(f"{location}: {key!r} is not an index from 0 to {len(tree.value) - 1} ({tree.location})")
    return int(key)


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes text which YAML 1.2 would read as another value."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = text and text.isprintable() and _reads_as_itself(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


def _reads_as_itself(text: str) -> bool:
    try:
        return bool(parse_scalar(text, Location("text")).plain() == text)
    except SpecError:
        return False


_Dumper.add_representer(str, _represent_text)
