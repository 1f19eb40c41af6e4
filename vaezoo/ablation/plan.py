"""The plan of an ablation: its variants, and one run for each variant and seed."""

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

VALIDATIONS = 8  # per run; points of a PSNR curve
LOG_LINES = 50  # per run


@dataclass(frozen=True)
class AblationRun:
    """One training of a variant.

    Args:
        variant: The variant.
        recipe: The complete recipe, with network, overrides and seed.
    """

    variant: Variant
    recipe: Recipe

    @property
    def seed(self) -> int:
        """Seed of initial weights, crops and noise."""
        return self.recipe.seed

    @cached_property
    def recipe_hash(self) -> str:
        """Hash of the recipe without its network and seed."""
        return replace(self.recipe, network="", overrides={}, seed=0).hash

    @property
    def key(self) -> str:
        """Name of the run: hashes of network and recipe, and the seed."""
        return f"{self.variant.spec.hash[:12]}-{self.recipe_hash[:12]}-s{self.seed}"


@dataclass(frozen=True)
class AblationPlan:
    """What an ablation does.

    Args:
        ablation: The question.
        folder: Folder of runs, results and report.
        variants: The variants, the base first.
        runs: One training for each variant and seed; none if the ablation has no recipe.
    """

    ablation: Ablation
    folder: Path
    variants: tuple[Variant, ...]
    runs: tuple[AblationRun, ...]

    def folder_of(self, run: AblationRun) -> Path:
        """Return the folder of a run."""
        return self.folder / "runs" / run.key


def make_plan(ablation: Ablation, folder: Path) -> AblationPlan:
    """Make the plan of an ablation, and check everything it needs before anything runs.

    Args:
        ablation: The question.
        folder: Folder for runs, results and report.

    Raises:
        SpecError: If variants cannot be built, with a line for each, or the recipe is invalid.
        UnknownNameError: If the base or the recipe does not exist.
        FileError: If photos for training or evaluation are missing.
        InputError: If the device to measure on is not available.
    """
    training, evaluation = ablation.recipe, ablation.evaluation
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
        validation=ValidationConfig(root=evaluation.root, size=evaluation.size),
        keep=1,
        grid_every=0,
    )
    variants = make_variants(ablation, recipe)
    recipe.data.check_source()
    if evaluation.root:
        photos(evaluation.root)
    shares = [1.0] * len(variants)
    if ablation.equal == "flops":
        gmacs = [costs(variant.spec, max(recipe.data.sizes)).gmacs() for variant in variants]
        shares = [gmacs[0] / each for each in gmacs]
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
        validation=replace(recipe.validation, every=math.ceil(steps / VALIDATIONS)),
        log_every=math.ceil(steps / LOG_LINES),
    )
