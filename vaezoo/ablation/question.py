"""An ablation as its YAML file says it: a question, a base, changes, and how the variants are trained and judged."""

import copy
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from vaezoo.errors import SpecError, UnknownNameError
from vaezoo.specs.catalog import canonical, files
from vaezoo.specs.check import FAILED, Between, Faults, convert, fields_of, fill, missing, unknown
from vaezoo.specs.parse import parse_scalar, read_tree
from vaezoo.specs.tree import Location, Node
from vaezoo.training.recipe_schema import Count

MAX_VARIANTS = 500
OURS = ("network", "overrides", "pretrained", "seed", "validation", "keep", "log_every", "grid_every")  # of a recipe
Changes = dict[str, Node]  # axis to value: an axis is one path of an override, or several with commas between
_SIZE = Annotated[int, Between(8, 16_384)]


@dataclass(frozen=True)
class RecipeReference:
    """A training recipe by its `name`, with settings such as `optimizer.lr` made."""

    name: str
    settings: dict[str, Node] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How a trained variant is judged.

    Args:
        root: Folder of photos; null is the sample photos of the package.
        size: Pixels per side.
        nets: What else judges, as for `vaezoo evaluate`; what is not to be had is left out.
    """

    root: str | None = None
    size: Annotated[int, Between(8, 4096)] = 256
    nets: tuple[str, ...] = ("lpips_vgg",)


@dataclass(frozen=True, kw_only=True)
class MeasurementConfig:
    """How time and memory of every variant are measured, with one image at a time.

    Args:
        what: Steps: encode, decode, train.
        sizes: Pixels per side; null is the first of the ablation.
        dtype: Of the weights; a training step keeps float32 weights.
        channels_last: Memory format.
        device: Where.
        repeats: Steps that are timed.
        budget: MiB within which the largest batch is looked for; null looks for none.
    """

    what: tuple[Literal["encode", "decode", "train"], ...] = ("encode", "decode", "train")
    sizes: tuple[_SIZE, ...] | None = None
    dtype: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = True
    device: str = "cpu"
    repeats: Annotated[int, Between(1, 1000)] = 5
    budget: Annotated[float, Between(1.0, 1e9)] | None = None


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """One question about a network; docs/ablation.md explains each key.

    Args:
        question: What is asked, in a sentence.
        base: What the variants are compared with: what `vaezoo.create` takes.
        variants: The changes that make each variant.
        recipe: How they are trained; null asks for costs alone.
        steps: Of the base's training; null is the recipe's.
        equal: What all variants get as much of: steps, or flops, by fewer steps for dearer ones.
        seeds: One training each.
        evaluation: How they are judged.
        sizes: Pixels per side at which costs are counted; the first is that of budgets and plots.
        measure: What is measured of each variant; null is nothing.
    """

    question: str
    base: str
    variants: tuple[Changes, ...]
    recipe: RecipeReference | None = None
    steps: Annotated[int, Count] | None = None
    equal: Literal["steps", "flops"] = "steps"
    seeds: tuple[Annotated[int, Between(0, 2**32)], ...] = (0, 1)
    evaluation: EvaluationConfig = EvaluationConfig()
    sizes: tuple[_SIZE, ...] = (256,)
    measure: MeasurementConfig | None = None

    @property
    def measured(self) -> list[tuple[str, int]]:
        """What is measured of each variant: steps and pixels per side."""
        how = self.measure
        return list(itertools.product(how.what, how.sizes or self.sizes[:1])) if how else []


def read_question(name: str | Path) -> Node:
    """The tree of an ablation: a path that ends in .yaml, or a name of `configs/ablations`.

    Raises:
        UnknownNameError: If there is no such ablation.
        FileError: If the file cannot be read.
        SpecError: If it is no YAML.
    """
    if str(name).endswith((".yaml", ".yml")):
        return copy.deepcopy(read_tree(name))  # options are put into it
    known = files("ablations")
    if canonical(str(name)) not in known:
        raise UnknownNameError(
            f"{unknown(str(name), known, 'ablation')} A file of your own ends in .yaml; a network takes --set as well."
        )
    return copy.deepcopy(read_tree(known[canonical(str(name))]))


def parse_axes(settings: list[str]) -> Node:
    """`["latent.channels=4,8"]` as the grid of an ablation.

    Raises:
        SpecError: If one is not `path=value,value,…`, or a path is set twice.
    """
    location, axes = Location("--set"), {}
    for setting in settings:
        axis, equals, text = setting.partition("=")
        if not axis or not equals or not text.strip() or axis in axes:
            twice = " (set twice)" if axis in axes else ""
            raise SpecError(f"--set {setting}: expected path=value,value,… such as latent.channels=4,8,16{twice}")
        axes[axis] = parse_scalar(f"[{text}]", Location(f"--set {axis}"))
    return Node(axes, location, {axis: node.location for axis, node in axes.items()})


def check_question(tree: Node) -> Ablation:
    """The ablation that a tree describes.

    Raises:
        SpecError: With every fault of the tree, each with its location.
    """
    if not isinstance(tree.value, dict):
        raise SpecError(f"{tree.location}: an ablation is a mapping of {', '.join(fields_of(Ablation))}, set, grid")
    faults, parts = Faults(), tree.value
    by_hand = ("set", "grid", "variants", "recipe")
    others = {key: child for key, child in parts.items() if key not in by_hand}
    arguments = fill(Node(others, tree.location, tree.keys), Ablation, "", faults, by_hand)
    arguments["variants"] = tuple(_variants(parts, faults))
    if "recipe" in parts and parts["recipe"].value is not None:
        arguments["recipe"] = _training(parts["recipe"], faults)
    if (count := len(arguments["variants"])) > MAX_VARIANTS:
        faults.add(tree.location, "", f"{count:,} variants; the limit is {MAX_VARIANTS}")
    if absent := missing(arguments, Ablation):
        faults.add(tree.location, "", f"missing {', '.join(absent)}")
    if not any(key in parts for key in by_hand[:3]):
        faults.add(tree.location, "", "missing what to vary: set (one variant), grid or variants")
    for key in ("steps", "equal", "seeds"):
        if key in parts and "recipe" not in arguments:
            faults.add(tree.keys[key], key, "nothing is trained without a recipe; give one, or remove this key")
    for key in ("seeds", "sizes"):
        if isinstance(values := arguments.get(key), tuple) and not _distinct(values):
            faults.add(parts[key].location, key, "expected one value at least, none of them twice")
    if isinstance(how := arguments.get("measure"), MeasurementConfig):
        if not _distinct(how.what) or (how.sizes is not None and not _distinct(how.sizes)):
            faults.add(
                parts["measure"].location, "measure", "expected one of what and sizes at least, none of them twice"
            )
        if how.dtype == "fp16" and "train" in how.what:
            faults.add(parts["measure"].location, "measure", "a training step in fp16 would need its losses scaled")
    faults.check()
    return Ablation(**arguments)


def _distinct(values: tuple[Any, ...]) -> bool:
    return 0 < len(set(values)) == len(values)


def _variants(parts: Mapping[str, Node], faults: Faults) -> Iterator[Changes]:
    """The changes of each variant: of `set`, then of `grid`, then of `variants`."""
    if "set" in parts and (changes := _changes(parts["set"], "set", faults)):
        yield changes
    if "grid" in parts:
        yield from _grid(_changes(parts["grid"], "grid", faults), parts["grid"], faults)
    if "variants" not in parts:
        return
    listed = parts["variants"]
    if not isinstance(listed.value, list) or not listed.value:
        faults.add(listed.location, "variants", "expected a list such as [{latent.channels: 8}, {latent.channels: 16}]")
        return
    for index, child in enumerate(listed.value):
        if changes := _changes(child, f"variants[{index}]", faults):
            yield changes


def _grid(axes: Changes, node: Node, faults: Faults) -> Iterator[Changes]:
    bad = [axis for axis, child in axes.items() if not isinstance(child.value, list) or not child.value]
    for axis in bad:
        faults.add(axes[axis].location, f"grid.{axis}", "expected a list of values, such as [4, 8, 16]")
    if bad or not axes:
        return
    if (count := math.prod(len(child.value) for child in axes.values())) > MAX_VARIANTS:
        faults.add(node.location, "grid", f"{count:,} variants; the limit is {MAX_VARIANTS}")
        return
    for values in itertools.product(*(child.value for child in axes.values())):
        yield dict(zip(axes, values, strict=True))


def _mapping(node: Node, path: str, faults: Faults) -> Changes:
    if not isinstance(node.value, dict) or not node.value:
        faults.add(node.location, path, "expected a mapping of paths, such as {latent.channels: 16}")
        return {}
    return node.value


def _changes(node: Node, path: str, faults: Faults) -> Changes:
    """A mapping of axes, no two of which set one path: the later value would silently win."""
    axes, seen = _mapping(node, path, faults), set()
    for axis in axes:
        paths = {part.strip() for part in axis.split(",")}
        if twice := sorted(paths & seen):
            faults.add(node.keys[axis], path, f"{twice[0]} is set by two keys")
        seen |= paths
    return axes


def _training(node: Node, faults: Faults) -> Any:
    if not isinstance(node.value, dict) or "name" not in node.value:
        return faults.add(
            node.location, "recipe", "expected a mapping such as {name: quickstart, set: {data.root: photos}}"
        )
    for key, location in node.keys.items():
        if key not in ("name", "set"):
            faults.add(location, f"recipe.{key}", unknown(key, ("name", "set"), "key for a recipe of an ablation"))
    name = convert(node.value["name"], str, "recipe.name", faults)
    settings = _mapping(node.value["set"], "recipe.set", faults) if "set" in node.value else {}
    for key, child in settings.items():
        if (head := key.partition(".")[0]) in OURS:
            text = f"an ablation sets {head} itself, by base, variants, seeds and evaluation; leave it out"
            faults.add(child.location, f"recipe.set.{key}", text)
    return FAILED if name is FAILED else RecipeReference(name, settings)
