"""Fixtures of the tests of training."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.training import quiet, tiny_recipe

from vaezoo.training import artifacts
from vaezoo.training.recipe_schema import Recipe


@pytest.fixture(autouse=True, scope="session")
def few_crops_for_statistics():
    """Measure latents of 8 crops instead of 64, which takes half of the time of such short runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts, "STATISTICS_CROPS", 8)
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Callable[..., Recipe]:
    """Copy a finished run of the tiny recipe with settings to a folder, and return its recipe; each is trained once."""
    trained: dict[tuple[str, ...], tuple[Recipe, Path]] = {}

    def copy(run: Path, *settings: str) -> Recipe:
        if settings not in trained:
            folder = tmp_path_factory.mktemp("finished")
            recipe = tiny_recipe(folder, *settings)
            quiet(recipe, folder / "run")
            trained[settings] = recipe, folder / "run"
        recipe, source = trained[settings]
        shutil.copytree(source, run)
        return recipe

    return copy
