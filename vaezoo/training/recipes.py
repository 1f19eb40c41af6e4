"""Recipes in files: found by name or path, changed by settings, checked, and written again complete."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from torch import nn

from vaezoo.data.photos import INDEXED, STREAMED
from vaezoo.errors import SpecError, UnknownNameError
from vaezoo.specs.catalog import canonical, files
from vaezoo.specs.check import FAILED, Between, Faults, convert, fields_of, fill, missing, unknown
from vaezoo.specs.parse import parse_scalar, read_tree
from vaezoo.specs.tree import Location, Node
from vaezoo.training.objective.adversary import Adversary
from vaezoo.training.objective.discriminator import DISCRIMINATORS
from vaezoo.training.objective.losses import LOSSES
from vaezoo.training.objective.regularizers import REGULARIZERS
from vaezoo.training.recipe_schema import BOOKKEEPING, DiscriminatorConfig, LossTerm, OptimizerConfig, Recipe

CHANGEABLE = ("steps", "data.workers", "data.cache", *BOOKKEEPING)  # when a run is resumed
DATASETS = (*INDEXED, *STREAMED)
_WEIGHT = Annotated[float, Between(0.0, 1e9)]
STARTS = {"pretrained": False, "start": "random", "grow": None}  # one of them at most is not this
_LISTS: dict[str, Mapping[str, type[nn.Module]]] = {"losses": LOSSES, "regularizers": REGULARIZERS}


def read_recipe(name: str | Path, settings: Mapping[str, Node] | None = None) -> Recipe:
    """The recipe of a YAML file, or of a name of `configs/train`, with settings such as `optimizer.lr=1e-4` made.

    Args:
        name: A path that ends in .yaml, or a name.
        settings: Path to value, from `parse_settings`. A path goes from key to key; items of a list are counted from 0:
            `losses.0.weight`.

    Raises:
        UnknownNameError: If there is no such recipe.
        FileError: If the file cannot be read.
        SpecError: With every fault, each with its location.
    """
    tree = copy.deepcopy(read_tree(_file(str(name))))
    for path, node in (settings or {}).items():
        put(tree, path, node)
    return check_recipe(tree)


def check_recipe(tree: Node) -> Recipe:
    """The recipe that a tree describes.

    Raises:
        SpecError: With every fault of the tree, each with its location.
    """
    if not isinstance(tree.value, dict):
        raise SpecError(f"{tree.location}: a recipe is a mapping of {', '.join(fields_of(Recipe))}")
    faults, parts = Faults(), tree.value
    others = {key: child for key, child in parts.items() if key not in (*_LISTS, "overrides", "discriminator")}
    arguments = fill(Node(others, tree.location, tree.keys), Recipe, "", faults)
    for key, table in _LISTS.items():
        if key in parts:
            arguments[key] = _parts(parts[key], table, key, faults)
    if "discriminator" in parts and parts["discriminator"].value is not None:
        arguments["discriminator"] = _discriminator(parts["discriminator"], faults)
    if "overrides" in parts:
        arguments["overrides"] = _overrides(parts["overrides"], faults)
    if absent := missing(arguments, Recipe):
        faults.add(tree.location, "", f"missing {', '.join(absent)}")
    _check_together(parts, arguments, faults)
    faults.check()
    return Recipe(**arguments)


def recipe_text(recipe: Recipe) -> str:
    """The YAML text of a recipe, every key written out; reading it back gives the same recipe."""
    return yaml.dump(recipe.to_dict(), Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110)


def check_resumable(before: Recipe, now: Recipe, location: str) -> None:
    """Raise `SpecError` if `now` is another training than the one that a run began with."""
    old, new = _flat(before.to_dict()), _flat(now.to_dict())
    changed = [path for path in old.keys() | new.keys() if old.get(path) != new.get(path) and path not in CHANGEABLE]
    if changed:
        said = "; ".join(f"{path} was {old.get(path)}, is {new.get(path)}" for path in sorted(changed))
        raise SpecError(
            f"{location}: cannot be resumed with another recipe ({said}); only {', '.join(CHANGEABLE)} may change. "
            "To go on from its weights with another recipe, say network: local-dir:RUN and pretrained: true"
        )


def _flat(data: Any, path: str = "") -> dict[str, Any]:
    """Nested data as one mapping of paths."""
    if not isinstance(data, dict | list):
        return {path.removeprefix("."): data}
    items = data.items() if isinstance(data, dict) else enumerate(data)
    return {key: value for name, child in items for key, value in _flat(child, f"{path}.{name}").items()}


def _file(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    known = files("train")
    if canonical(name) not in known:
        raise UnknownNameError(f"{unknown(name, known, 'recipe')} A file of your own ends in .yaml.")
    return known[canonical(name)]


def put(tree: Node, path: str, node: Node) -> None:
    """Put `node` where a setting's path leads; mappings that are not there, or null, are made.

    Raises:
        SpecError: If it leads into a value that has no keys, or to an item that a list has not.
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
    if isinstance(tree.value, list):
        return tree.value[_index(tree, key, location)]
    if not isinstance(tree.value, dict):
        raise SpecError(f"{location} leads into a value that has no keys ({tree.location})")
    if key not in tree.value or tree.value[key].value is None:
        tree.value[key], tree.keys[key] = Node({}, location), location
    return tree.value[key]


def _index(tree: Node, key: str, location: Location) -> int:
    if not key.isdecimal() or int(key) >= len(tree.value):
        raise SpecError(f"{location}: {key!r} is none of 0 to {len(tree.value) - 1} ({tree.location})")
    return int(key)


def _overrides(node: Node, faults: Faults) -> Any:
    if not isinstance(node.value, dict):
        return faults.add(node.location, "overrides", "expected a mapping such as {latent.channels: 16}")
    return node.plain()


def _parts(node: Node, table: Mapping[str, type[nn.Module]], path: str, faults: Faults) -> Any:
    if not isinstance(node.value, list):
        return faults.add(node.location, path, f"expected a list such as [{{kind: {next(iter(table))}, weight: 1}}]")
    return tuple(_part(child, table, f"{path}[{index}]", faults) for index, child in enumerate(node.value))


def _part(node: Node, table: Mapping[str, type[nn.Module]], path: str, faults: Faults) -> Any:
    if not isinstance(node.value, dict) or not {"kind", "weight"} <= node.value.keys():
        example = f"{{kind: {next(iter(table))}, weight: 1}}"
        return faults.add(node.location, path, f"expected a kind and a weight, such as {example}")
    kind = convert(node.value["kind"], Annotated[str, table], f"{path}.kind", faults)
    weight = convert(node.value["weight"], _WEIGHT, f"{path}.weight", faults)
    if kind is FAILED:
        return FAILED
    return LossTerm(kind, weight, _arguments(node, table[kind], path, faults, ("kind", "weight")))


def _discriminator(node: Node, faults: Faults) -> Any:
    path = "discriminator"
    if not isinstance(node.value, dict) or not {"kind", "optimizer"} <= node.value.keys():
        return faults.add(
            node.location, path, f"expected a kind ({', '.join(DISCRIMINATORS)}), a weight and an optimizer"
        )
    kind = convert(node.value["kind"], Annotated[str, DISCRIMINATORS], f"{path}.kind", faults)
    optimizer = convert(node.value["optimizer"], OptimizerConfig, f"{path}.optimizer", faults)
    if kind is FAILED:
        return FAILED
    target, game = DISCRIMINATORS[kind], fields_of(Adversary)
    arguments = _arguments(node, target, path, faults, ("kind", "optimizer", *game))
    played = {key: child for key, child in node.value.items() if key in game}
    played = _arguments(Node(played, node.location, node.keys), Adversary, path, faults)
    return DiscriminatorConfig(kind, arguments, played, optimizer)


def _arguments(node: Node, target: type, path: str, faults: Faults, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    arguments = fill(node, target, path, faults, skip)
    if absent := missing(arguments, target):
        faults.add(node.location, path, f"missing {', '.join(absent)} for {target.__name__}")
    return arguments


def _check_together(parts: Mapping[str, Node], arguments: Mapping[str, Any], faults: Faults) -> None:
    """What no single key's hint can say."""
    data = arguments.get("data", FAILED)
    if data is not FAILED:
        inside = parts["data"].value
        if not data.sizes:
            faults.add(inside["sizes"].location, "data.sizes", "expected at least one size")
        if data.dataset and not data.dataset.startswith(DATASETS):
            text = f"expected {', '.join(DATASETS)} and a name; a folder or a .tar is data.root"
            faults.add(inside["dataset"].location, "data.dataset", text)
        if len(data.scale) != 2 or data.scale[0] > data.scale[1]:
            faults.add(inside["scale"].location, "data.scale", "expected two numbers, from and to, such as [1, 2]")
    pretrained = arguments.get("pretrained")
    if isinstance(pretrained, str) and not pretrained.startswith("file:"):
        text = "expected true, false, or a file as in file:weights.safetensors; network names all other weights"
        faults.add(parts["pretrained"].location, "pretrained", text)
    starts = [key for key, none in STARTS.items() if arguments.get(key, none) != none]
    if len(starts) > 1:
        faults.add(parts[starts[1]].location, starts[1], f"the recipe starts by {starts[0]}; leave one of them out")
    if arguments.get("losses") == ():
        faults.add(parts["losses"].location, "losses", "expected at least one loss")


class _Dumper(yaml.SafeDumper):
    """Text that YAML 1.2 would take for something else is quoted."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = text and text.isprintable() and _reads_as_itself(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


def _reads_as_itself(text: str) -> bool:
    try:
        return parse_scalar(text, Location("text")).plain() == text
    except SpecError:
        return False


_Dumper.add_representer(str, _represent_text)
