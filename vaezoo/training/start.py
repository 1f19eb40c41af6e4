"""The start of a training run: its folder, its network with the first weights, and the state before the first step."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from timm.utils import ModelEmaV3
from torch import nn

from vaezoo.data.batches import CropSampler
from vaezoo.distributed import SINGLE, ProcessGroup
from vaezoo.errors import FileError, InputError, SpecError
from vaezoo.io.folder_lock import folder_lock
from vaezoo.nn.vae import VAE
from vaezoo.training.artifacts import RECIPE
from vaezoo.training.checkpoint import checkpoints, restore_checkpoint
from vaezoo.training.log import read_log
from vaezoo.training.objective.task import Task, check_discriminator, choose_trained
from vaezoo.training.optim import Updater, rate_at
from vaezoo.training.published import published_network
from vaezoo.training.recipe_schema import Recipe
from vaezoo.training.recipes import check_resumable, read_recipe
from vaezoo.training.state import Progress, State
from vaezoo.warmstart.as_resampler import check_start, start_as_resampler
from vaezoo.warmstart.grow import grow
from vaezoo.weights.config_json import CONFIG, WEIGHTS
from vaezoo.weights.header import spec_hash_of
from vaezoo.weights.known_names import check_known
from vaezoo.zoo.create import create

LOCK_TIMEOUT = 10  # seconds; data workers of a killed training end within 5, and may hold its lock until then


def check_folder(run: Path, recipe: Recipe, resume: bool) -> None:
    """Check that a folder holds no run, or with `resume` one that the recipe can continue.

    Raises:
        FileError: If the folder holds a run and `resume` is false, or none that can be continued and `resume` is true.
        SpecError: If the run was started with another recipe.
    """
    path = run / RECIPE
    if not resume:
        if path.exists():
            raise FileError(f"{run}: already holds a run; continue it with --resume or choose another --out")
        return
    if not path.is_file():
        raise FileError(f"{run}: no run to resume, because it has no {RECIPE}; start one without --resume")
    before = read_recipe(path)
    check_resumable(before, recipe, str(run))
    last = max((line["step"] for line in read_log(run)), default=0)
    if last > before.checkpoint_every and not checkpoints(run):
        raise FileError(f"{run}: its log goes to step {last}, but it has no checkpoints; start anew with another --out")


def rate_notice(run: Path, recipe: Recipe, step: int) -> str | None:
    """Describe the jump of the learning rate if a run is resumed with another number of steps.

    Args:
        run: Run folder with the recipe before.
        recipe: The recipe now.
        step: Steps made.

    Returns:
        One sentence, or `None` if the rate of the next step stays the same.
    """
    before, lr = read_recipe(run / RECIPE), recipe.optimizer.lr
    old, new = (rate_at(step, each.schedule, lr, each.steps) for each in (before, recipe))
    if math.isclose(old, new, rel_tol=0.01, abs_tol=1e-3 * lr):
        return None
    end = before.schedule.steps or before.steps
    return (
        f"{run}: the learning rate of the next step is {new:.3g} instead of {old:.3g}, because the schedule "
        f"{recipe.schedule.name} now ends at step {recipe.schedule.steps or recipe.steps:,} and not at {end:,}; "
        f"--set schedule.steps={end} keeps the old end"
    )


@contextlib.contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Hold the lock of a run folder during the block, so that one training at a time writes to it.

    Raises:
        FileError: If another process holds it.
    """
    with folder_lock(run, LOCK_TIMEOUT) as acquired:
        if not acquired:
            raise FileError(
                f"{run}: another process trains in this folder; wait until it has ended, or choose another --out"
            )
        yield


def check_names(recipe: Recipe) -> None:
    """Check the names of the networks and weights of a recipe; the errors are those of `check_known`."""
    check_known(recipe.network, recipe.pretrained is True)
    for name in (recipe.pretrained, recipe.grow):
        if isinstance(name, str):
            check_known(name)


def first_network(recipe: Recipe) -> VAE:
    """Create the network of a recipe with the weights that training starts from; raises the errors of `create`."""
    name, pretrained, network = recipe.network, recipe.pretrained, None
    if isinstance(pretrained, str):
        name, pretrained, network = pretrained, True, recipe.network
    vae = create(name, pretrained, overrides=recipe.overrides, network=network)
    if recipe.start == "resampler":
        start_as_resampler(vae)
    vae.source = None  # training changes the weights
    return grow(create(recipe.grow, pretrained=True), vae.spec) if recipe.grow else vae


def resumed_network(recipe: Recipe, run: Path) -> VAE:
    """Create the network of a run with checkpoints: that of its `config.json`, or if there is none that of the recipe.

    Raises:
        SpecError: If `config.json` is damaged, or there is none and the recipe now names another network.
    """
    path = run / CONFIG
    if os.path.lexists(path):
        try:
            return published_network(run)
        except (SpecError, FileError) as error:
            reason = str(error).partition("\n")[0].removeprefix(f"{path}: ")
            remedy = f"remove it, and --resume writes it again by {RECIPE} and the last checkpoint"
            raise SpecError(f"{path}: cannot be read ({reason}); {remedy}") from error
    vae = first_network(recipe)
    if spec_hash_of(run / WEIGHTS) not in (None, vae.spec.hash):
        raise SpecError(
            f"{run}: {CONFIG} is missing, and {recipe.network} is no longer the network of this run; restore one"
        )
    return vae


def start(recipe: Recipe, run: Path, resume: bool, group: ProcessGroup) -> State:
    """Create the state from which a run starts, or with `resume` continues.

    Args:
        recipe: What to train, and how.
        run: Run folder, which `check_folder` accepted.
        resume: Whether to continue from the last checkpoint of the folder, if it has one.
        group: This process among those that train together.

    Raises:
        CheckpointError: If the checkpoint is damaged, or does not fit the recipe.
        SpecError: If the checkpoint is past the last step of the recipe, or `config.json` is damaged.
    """
    saved = checkpoints(run) if resume else []
    torch.manual_seed(recipe.seed)
    state = begin(resumed_network(recipe, run) if saved else first_network(recipe), recipe, group.device)
    if saved:
        restore_checkpoint(state, saved[-1], group)
    if state.progress.step > recipe.steps:
        raise SpecError(f"{run}: already at step {state.progress.step}, past the {recipe.steps} steps of the recipe")
    return state


def begin(vae: VAE, recipe: Recipe, device: torch.device) -> State:
    """Create the state before the first step.

    Args:
        vae: Network with its first weights; it is moved to `device`, converted to float32 and trained in place.
        recipe: What to train, and how.
        device: Device to train on.

    Raises:
        SpecError: If recipe and network do not fit together.
        InputError: If the network is not for RGB images, or a crop size is not a multiple of its downscaling.
    """
    check_fits(vae, recipe)
    choose_trained(vae, recipe.train)
    memory_format = torch.channels_last if recipe.channels_last else torch.preserve_format
    vae.to(device, torch.float32)
    vae.to(memory_format=memory_format)
    task = Task(vae, recipe).to(device).train()
    check_discriminator(task, recipe)
    average = ModelEmaV3(
        vae,
        decay=recipe.ema.decay,
        use_warmup=True,
        warmup_gamma=recipe.ema.gamma,
        warmup_power=recipe.ema.power,
        exclude_buffers=True,
    ).requires_grad_(False)
    trained = nn.ModuleList([vae, task.losses, task.regularizers])
    updater = Updater(trained, recipe.optimizer, recipe.schedule, recipe.steps, recipe.clip)
    discriminator = None
    if task.adversary and recipe.discriminator:
        optimizer = recipe.discriminator.optimizer
        discriminator = Updater(task.adversary, optimizer, recipe.schedule, recipe.steps, recipe.clip)
    return State(task, average, updater, discriminator, Progress())


def check_fits(vae: VAE, recipe: Recipe) -> None:
    """Check that a network can be trained by a recipe.

    Args:
        vae: Network, which may be on the meta device.
        recipe: The recipe.

    Raises:
        InputError: If the network is not for RGB images, or a crop size is not a multiple of its downscaling.
        SpecError: If the network cannot start as the recipe asks.
    """
    if vae.spec.image.channels != 3:
        raise InputError(f"{vae.spec.label} has images of {vae.spec.image.channels} channels; photos have 3")
    for key, sizes in (("data.sizes", recipe.data.sizes), ("validation.size", (recipe.validation.size,))):
        if odd := [size for size in sizes if size % vae.size_multiple]:
            raise InputError(f"{key} {odd[0]}: {vae.spec.label} takes multiples of {vae.size_multiple} pixels")
    if recipe.start == "resampler":
        check_start(vae)


def crop_sampler(recipe: Recipe, progress: Progress | None = None, group: ProcessGroup = SINGLE) -> CropSampler:
    """Create the sampler of a recipe's crops for one process, which continues at `progress`; by default from step 0."""
    progress = progress or Progress()
    return CropSampler(
        recipe.data,
        seed=recipe.seed,
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        accumulate=recipe.accumulate,
        step=progress.step,
        seen=progress.seen,
        rank=group.rank,
        world_size=group.world_size,
    )
