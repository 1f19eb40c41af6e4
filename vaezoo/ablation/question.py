"""The schema of an ablation file: a question, a base, changes to it, and how the variants are trained and evaluated."""

import copy
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from vaezoo.errors import SpecError
from vaezoo.specs.catalog import config_file
from vaezoo.specs.check import check
from vaezoo.specs.faults import Faults
from vaezoo.specs.marks import Between, Items
from vaezoo.specs.parse import parse_scalar, read_tree
from vaezoo.specs.tree import Location, Node
from vaezoo.training.recipe_schema import Count

MAX_VARIANTS = 500
# Keys of a recipe that an ablation sets itself.
OWN_KEYS = ("network", "overrides", "pretrained", "seed", "validation", "keep", "log_every", "grid_every")
Changes = dict[str, Node]  # axis to value: an axis is the path of an override, or several separated by commas
_Size = Annotated[int, Between(8, 16_384)]
_Sizes = Annotated[tuple[_Size, ...], Items(1, distinct=True)]


@dataclass(frozen=True, kw_only=True)
class RecipeReference:
    """A training recipe by name.

    Args:
        name: Name or path of the recipe.
        set: Changes to the recipe, such as `optimizer.lr`.
    """

    name: str
    set: dict[str, Node] = field(default_factory=dict)

    def find_faults(self) -> Iterator[tuple[str, str]]:
        """Yield the faults between keys."""
        for key in self.set:
            if (head := key.partition(".")[0]) in OWN_KEYS:
                yield (
                    f"set.{key}",
                    f"an ablation sets {head} itself, by base, variants, seeds and evaluation; leave it out",
                )


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How trained variants are evaluated.

    Args:
        root: Folder of photos; null means the sample photos of the package.
        size: Side of the images in pixels.
        nets: Further metrics, as for `vaezoo evaluate`; unavailable ones are left out.
    """

    root: str | None = None
    size: Annotated[int, Between(8, 4096)] = 256
    nets: tuple[str, ...] = ("lpips_vgg",)


@dataclass(frozen=True, kw_only=True)
class MeasurementConfig:
    """How time and memory of every variant are measured, with one image at a time.

    Args:
        what: Steps to measure.
        sizes: Sides of the images in pixels; null means the first size of the ablation.
        dtype: Data type of the weights; a training step always has float32 weights.
        channels_last: Whether weights and images are in channels-last memory format.
        device: Device to measure on.
        repeats: Number of timed steps.
        budget: Memory in MiB within which the largest batch is searched; null searches none.
    """

    what: Annotated[tuple[Literal["encode", "decode", "train"], ...], Items(1, distinct=True)] = (
        "encode",
        "decode",
        "train",
    )
    sizes: _Sizes | None = None
    dtype: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = True
    device: str = "cpu"
    repeats: Annotated[int, Between(1, 1000)] = 5
    budget: Annotated[float, Between(1.0, 1e9)] | None = None

    def find_faults(self) -> Iterator[tuple[str, str]]:
        """Yield the faults between keys."""
        if self.dtype == "fp16" and "train" in self.what:
            yield "dtype", "a training step in fp16 would need its losses scaled; measure it in bf16 or fp32"


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """One question about a network; `docs/ablation.md` explains each key.

    Args:
        question: The question, in one sentence.
        base: Name of the network that the variants are compared with, as for `vaezoo.create`.
        set: Changes that make one variant.
        grid: Values for each axis; every combination is a variant.
        variants: Changes that make each further variant.
        recipe: Recipe by which the variants are trained; null counts and measures costs only.
        steps: Training steps of the base; null means those of the recipe.
        equal: Whether all variants get the same number of steps or, by fewer steps for larger ones, of flops.
        seeds: Seeds; every variant is trained once with each.
        evaluation: How trained variants are evaluated.
        sizes: Sides of the images in pixels for which costs are counted; budgets and plots use the first.
        measure: How variants are measured; null measures nothing.
    """

    question: str
    base: str
    set: Annotated[Changes, Items(1)] = field(default_factory=dict)
    grid: Annotated[dict[str, Annotated[tuple[Node, ...], Items(1)]], Items(1)] = field(default_factory=dict)
    variants: Annotated[tuple[Annotated[Changes, Items(1)], ...], Items(1)] = ()
    recipe: RecipeReference | None = None
    steps: Annotated[int, Count] | None = None
    equal: Literal["steps", "flops"] = "steps"
    seeds: Annotated[tuple[Annotated[int, Between(0, 2**32)], ...], Items(1, distinct=True)] = (0, 1)
    evaluation: EvaluationConfig = EvaluationConfig()
    sizes: _Sizes = (256,)
    measure: MeasurementConfig | None = None

    @property
    def changes(self) -> list[Changes]:
        """The changes of each variant: of `set`, then of `grid`, then of `variants`."""
        combinations = itertools.product(*self.grid.values()) if self.grid else ()
        grid = [dict(zip(self.grid, values, strict=True)) for values in combinations]
        return [*([self.set] if self.set else []), *grid, *self.variants]

    @property
    def measured(self) -> list[tuple[str, int]]:
        """The steps to measure of each variant, with the side of the images in pixels."""
        return list(itertools.product(self.measure.what, self.measure.sizes or self.sizes[:1])) if self.measure else []

    def find_faults(self) -> Iterator[tuple[str, str]]:
        """Yield the faults between keys."""
        if not (self.set or self.grid or self.variants):
            yield "", "missing set (one variant), grid or variants"
        grid = math.prod(len(values) for values in self.grid.values()) if self.grid else 0
        if (count := bool(self.set) + grid + len(self.variants)) > MAX_VARIANTS:
            yield "", f"{count:,} variants; the limit is {MAX_VARIANTS}"
        mappings: dict[str, Iterable[str]] = {"set": self.set, "grid": self.grid}
        mappings |= {f"variants[{index}]": changes for index, changes in enumerate(self.variants)}
        for where, axes in mappings.items():
            paths: set[str] = set()
            for axis in axes:
                own = {path.strip() for path in axis.split(",")}
                if twice := sorted(own & paths):  # otherwise the later value would silently win
                    yield f"{where}.{axis}", f"{twice[0]} is set by two keys"
                paths |= own


def read_question(name: str | Path) -> Node:
    """Read the tree of an ablation, which the caller may change.

    Args:
        name: A path that ends in `.yaml`, or the name of an ablation of `configs/ablations`.

    Raises:
        UnknownNameError: If there is no such ablation.
        FileError: If the file cannot be read.
        SpecError: If the file is not YAML.
    """
    return copy.deepcopy(read_tree(config_file(str(name), "ablations")))


def parse_axes(settings: list[str]) -> Node:
    """Parse settings such as `latent.channels=4,8` into the grid of an ablation.

    Raises:
        SpecError: If a setting is not `path=value,value,…`, or a path is set twice.
    """
    axes: Changes = {}
    for setting in settings:
        axis, equals, text = setting.partition("=")
        if not axis or not equals or not text.strip() or axis in axes:
            twice = " (set twice)" if axis in axes else ""
            raise SpecError(f"--set {setting}: expected path=value,value,… such as latent.channels=4,8,16{twice}")
        axes[axis] = parse_scalar(f"[{text}]", Location(f"--set {axis}"))
    return Node(axes, Location("--set"), {axis: node.location for axis, node in axes.items()})


def check_question(tree: Node) -> Ablation:
    """Build an ablation from a tree.

    Raises:
        SpecError: With every fault of the tree and its location.
    """
    ablation, faults = check(tree, Ablation), Faults()
    for key in ("steps", "equal", "seeds") if ablation.recipe is None else ():
        if key in tree.value:
            faults.add(tree.keys[key], key, "nothing is trained without a recipe; add one, or remove this key")
    faults.check()
    return ablation
