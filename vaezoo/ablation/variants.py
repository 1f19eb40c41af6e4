"""The networks of an ablation: their names, specs and costs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from vaezoo.ablation.question import Ablation, Changes
from vaezoo.analysis.panel import static_panel
from vaezoo.errors import InputError, SpecError
from vaezoo.nn.build import build
from vaezoo.nn.schema import change_spec
from vaezoo.specs.faults import Faults
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.tree import Location, Node
from vaezoo.training.recipe_schema import Recipe
from vaezoo.training.start import check_fits
from vaezoo.zoo.create import get_spec


@dataclass(frozen=True)
class Variant:
    """A network of an ablation.

    Args:
        name: Name of the base, followed by the changes.
        spec: The network.
        overrides: The changes of the base that make this network, path to value.
        costs: Columns of its static panel.
    """

    name: str
    spec: ModelSpec
    overrides: dict[str, Any]
    costs: dict[str, Any]

    @property
    def label(self) -> str:
        """The changes, as they stand in the name after the base, or `base`."""
        return self.name.partition("+")[2] or "base"


def make_variants(ablation: Ablation, recipe: Recipe | None = None) -> list[Variant]:
    """Make the variants of an ablation, after checking all of them on the meta device.

    A variant that equals the base, or an earlier variant, is left out.

    Args:
        ablation: The question.
        recipe: Recipe that all variants must be able to train with; `None` if nothing is trained.

    Returns:
        The base, then its variants in the order of the question.

    Raises:
        SpecError: If variants cannot be built, or do not support a size of the ablation; with a line for each.
        UnknownNameError: If the base does not exist.
    """
    spec, faults = get_spec(ablation.base), Faults()
    axes = list(dict.fromkeys(axis for changes in ablation.changes for axis in changes))
    found: dict[str, Variant] = {}
    for changes in ({}, *ablation.changes):
        name = variant_name(spec.label, changes, axes) if changes else spec.label
        nodes = {path.strip(): node for axis, node in changes.items() for path in axis.split(",")}
        try:
            changed = replace(change_spec(spec, nodes), name=name) if nodes else spec
            if changed.hash in found:
                continue
            counted, vae = static_panel(changed, ablation.sizes), build(changed, "meta")
            if recipe:
                check_fits(vae, recipe)
            for _, size in ablation.measured:
                vae.diffusion_shape(size, size)
        except (SpecError, InputError) as error:
            location = next((node.location for node in changes.values()), Location(ablation.base))
            _note(name, location, error, faults)
        else:
            overrides = {path: node.plain() for path, node in nodes.items()}
            found[changed.hash] = Variant(name, changed, overrides, counted)
    faults.check()
    return list(found.values())


def variant_name(base: str, changes: Changes, axes: Sequence[str]) -> str:
    """Return the name of a variant: the base, and the end of each path with its value, as `vae_f8_z4+heads1,channels8`.

    Args:
        base: Name of the base.
        changes: Value of each axis.
        axes: All axes of the ablation; the end of a path is as long as needed to tell it from theirs.
    """
    return f"{base}+{','.join(_short_path(axis, axes) + _short_value(node) for axis, node in changes.items())}"


def _short_path(axis: str, axes: Sequence[str]) -> str:
    others = [path for other in axes if other != axis for path in other.split(",")]
    paths = [path.strip() for path in axis.split(",")]
    for count in (1, 2):
        suffixes = {_suffix(path, count) for path in paths}
        if len(suffixes) == 1 and not suffixes & {_suffix(path.strip(), count) for path in others}:
            return suffixes.pop()
    return "&".join(paths)


def _suffix(path: str, count: int) -> str:
    return ".".join(path.split(".")[-count:])


def _short_value(node: Node) -> str:
    """Return a number as it is, and any other value after a "="."""
    value = node.plain()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value).removesuffix(".0")  # with all digits, because different values need different names
    words = {None: "null", True: "true", False: "false"}
    return "=" + (words[value] if value is None or isinstance(value, bool) else str(value).replace(" ", ""))


def _note(variant: str, location: Location, error: Exception, faults: Faults) -> None:
    """Add one line about a variant: its first fault, and the number of further ones."""
    first, *more = str(error).splitlines()
    rest = f" (and {len(more)} more)" if more else ""
    faults.add(location, variant, first.removeprefix(f"{location}: ") + rest)
