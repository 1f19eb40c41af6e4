"""Recipes that train longer what a run folder holds: in the folder itself, or from its weights in a new one."""

from collections.abc import Mapping
from pathlib import Path

from vaezoo.errors import FileError
from vaezoo.specs.tree import Location, Node, from_plain
from vaezoo.training.artifacts import RECIPE
from vaezoo.training.recipe_schema import STARTS, Recipe
from vaezoo.training.recipes import read_recipe
from vaezoo.weights.config_json import CONFIG

TRAIN = "train"  # subfolder of a run of an ablation; it is a run folder


def recipe_of_run(run: Path, settings: Mapping[str, Node], anew: bool) -> Recipe:
    """Read the recipe of a run folder, to train it longer.

    Args:
        run: Run folder.
        settings: Changes to the recipe, as for `read_recipe`.
        anew: Whether to start a new run from the weights of this one; otherwise the recipe resumes it.

    Returns:
        The recipe. For a new run, `network` is the folder, whose published weights it starts from, and what shaped or
        initialized its network (`overrides`, `start`, `grow`) is left out.

    Raises:
        FileError: If the folder holds no run, or none that has published weights yet, or is the folder above the
            run of an ablation.
        SpecError: If a setting is invalid.
    """
    if not (run / RECIPE).is_file():
        raise FileError(f"{run}: holds no run, because it has no {RECIPE}; name a recipe or a run folder")
    if (run / TRAIN / RECIPE).is_file():
        raise FileError(f"{run}: holds a run of an ablation, which trains longer in {run / TRAIN}; name this folder")
    if not anew:
        return read_recipe(run / RECIPE, settings)
    if not (run / CONFIG).is_file():
        raise FileError(f"{run}: this run has no weights yet; continue it with vaezoo train {run}")
    where = Location(f"the run {run}")
    starts = {key: from_plain(value, where) for key, value in STARTS.items()}
    starts |= {"network": from_plain(f"local-dir:{run.resolve()}", where), "overrides": from_plain({}, where)}
    starts |= {"pretrained": from_plain(True, where)}
    return read_recipe(run / RECIPE, {**starts, **settings})
