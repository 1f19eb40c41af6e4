"""The networks of an ablation: named, built on the meta device, and refused all at once where one is impossible."""

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
    """A network of an ablation: its `name`, its `spec`, the `overrides` that make it of the base, its static panel."""

    name: str
    spec: ModelSpec
    overrides: dict[str, Any]
    costs: dict[str, Any]

    @property
    def label(self) -> str:
        """What tells it from the others: the part of the name behind the base, or `base`."""
        return self.name.partition("+")[2] or "base"


def make_variants(ablation: Ablation, recipe: Recipe | None = None) -> list[Variant]:
    """The base, then its variants, each network once, in the order of the file.

    A variant that changes nothing is the base, and two that say the same network are the first of them.

    Args:
        ablation: What is asked.
        recipe: What all of them must be able to train by, if anything.

    Raises:
        SpecError: With every variant that cannot be built, or takes no images of a size that is asked for.
        UnknownNameError: If there is no such base.
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
    """`vae_f8_z4+heads1,channels8`: the base, and each change by the end of its path and its value.

    Args:
        base: Its name.
        changes: Axis to value.
        axes: All axes of the ablation: of a path, as many parts stand in the name as tell it from theirs.
    """
    return f"{base}+{','.join(_short_path(axis, axes) + _short_value(node) for axis, node in changes.items())}"


def _short_path(axis: str, axes: Sequence[str]) -> str:
    others = [path for other in axes if other != axis for path in other.split(",")]
    paths = [path.strip() for path in axis.split(",")]
    for count in (1, 2):
        ends = {_end(path, count) for path in paths}
        if len(ends) == 1 and not ends & {_end(path.strip(), count) for path in others}:
            return ends.pop()
    return "&".join(paths)


def _end(path: str, count: int) -> str:
    return ".".join(path.split(".")[-count:])


def _short_value(node: Node) -> str:
    """A number as it is, anything else behind a "="."""
    value = node.plain()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value).removesuffix(".0")  # every digit, because two values are two names
    words = {None: "null", True: "true", False: "false"}
    return "=" + (words[value] if value is None or isinstance(value, bool) else str(value).replace(" ", ""))


def _note(variant: str, location: Location, error: Exception, faults: Faults) -> None:
    """One line for each variant that is impossible: what is wrong first, and how much more there is."""
    first, *more = str(error).splitlines()
    rest = f" (and {len(more)} more of that kind)" if more else ""
    faults.add(location, variant, first.removeprefix(f"{location}: ") + rest)
