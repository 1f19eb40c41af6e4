"""What an ablation comes to: its variants with their costs, and one run for each variant and seed."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from vaezoo.ablation.question import Ablation
from vaezoo.ablation.variants import Variant, make_variants
from vaezoo.analysis.costs import costs
from vaezoo.data.photos import photos
from vaezoo.training.recipe_schema import Recipe, ValidationConfig
from vaezoo.training.recipes import read_recipe
from vaezoo.zoo.create import usable_device

POINTS = 8  # of a curve of PSNR
LINES = 50  # of a run's log


@dataclass(frozen=True)
class AblationRun:
    """One training of a variant, by a recipe that says all."""

    variant: Variant
    recipe: Recipe

    @property
    def seed(self) -> int:
        """Of weights, crops and noise."""
        return self.recipe.seed

    @cached_property
    def recipe_hash(self) -> str:
        """Of all that does not tell which network it is and which seed."""
        return replace(self.recipe, network="", overrides={}, seed=0).hash

    @property
    def key(self) -> str:
        """What names it among all runs: network, recipe, seed."""
        return f"{self.variant.spec.hash[:12]}-{self.recipe_hash[:12]}-s{self.seed}"


@dataclass(frozen=True)
class AblationPlan:
    """An ablation in its `folder`; `runs` are the trainings of its variants, none where there is no recipe."""

    ablation: Ablation
    folder: Path
    variants: tuple[Variant, ...]
    runs: tuple[AblationRun, ...]

    def folder_of(self, run: AblationRun) -> Path:
        """Where all of one run lies."""
        return self.folder / "runs" / run.key


def make_plan(ablation: Ablation, folder: Path) -> AblationPlan:
    """The plan of an ablation, after everything that could be wrong with it has been looked at.

    Raises:
        SpecError: If variants are impossible, all of them in one text, or the recipe has faults.
        UnknownNameError: If there is no such base or recipe.
        FileError: If there are no photos to train or judge by.
        InputError: If there is no such device to measure with.
    """
    training, judging = ablation.recipe, ablation.evaluation
    if ablation.measure:
        usable_device(ablation.measure.device)
    if training is None:
        return AblationPlan(ablation, folder, tuple(make_variants(ablation)), ())
    recipe = read_recipe(training.name, training.set)
    recipe = replace(
        recipe,
        network=ablation.base,
        pretrained=False,
        steps=ablation.steps or recipe.steps,
        validation=ValidationConfig(root=judging.root, size=judging.size),
        keep=1,
        grid_every=0,
    )
    variants = make_variants(ablation, recipe)
    recipe.data.check_source()
    if judging.root:
        photos(judging.root)
    shares = [1.0] * len(variants)
    if ablation.equal == "flops":
        spent = [costs(variant.spec, max(recipe.data.sizes)).gmacs() for variant in variants]
        shares = [spent[0] / each for each in spent]
    runs = [
        AblationRun(variant, _recipe(recipe, variant, max(1, round(recipe.steps * share)), seed))
        for seed in ablation.seeds
        for variant, share in zip(variants, shares, strict=True)
    ]
    return AblationPlan(ablation, folder, tuple(variants), tuple(runs))


def _recipe(recipe: Recipe, variant: Variant, steps: int, seed: int) -> Recipe:
    return replace(
        recipe,
        overrides=variant.overrides,
        steps=steps,
        seed=seed,
        validation=replace(recipe.validation, every=math.ceil(steps / POINTS)),
        log_every=math.ceil(steps / LINES),
    )
