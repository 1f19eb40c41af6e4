"""All that changes while a model is trained, and how it begins."""

from dataclasses import asdict, dataclass, field

import torch
from timm.utils import ModelEmaV3
from torch import nn

from vaezoo.errors import InputError
from vaezoo.nn.vae import VAE
from vaezoo.training.objective.task import Task, check_game, choose_trained
from vaezoo.training.optim import Updater
from vaezoo.training.recipe_schema import Recipe
from vaezoo.warmstart.as_resampler import check_start


@dataclass
class Progress:
    """Where a run is.

    `step` and `seen` are the updates made and the crops taken; `skipped` the steps without a finite gradient, `streak`
    those of them in a row just now; `seconds` of work; `best` the highest validation PSNR in dB and the step of it;
    `bad` the pictures that were skipped.
    """

    step: int = 0
    seen: int = 0
    skipped: int = 0
    streak: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int | None = None
    bad: list[str] = field(default_factory=list)

    def to_dict(self) -> dict:
        """As plain data."""
        return asdict(self)


@dataclass
class State:
    """A task, the average of its VAE, what updates VAE and discriminator (if there is one), and where the run is."""

    task: Task
    ema: ModelEmaV3
    vae: Updater
    discriminator: Updater | None
    progress: Progress

    @property
    def updaters(self) -> dict[str, Updater]:
        """Those that there are, by name."""
        return {"vae": self.vae, **({"discriminator": self.discriminator} if self.discriminator else {})}


def begin(vae: VAE, recipe: Recipe, device: torch.device) -> State:
    """The state before the first step.

    Args:
        vae: The network with its first weights; it becomes the one that is trained.
        recipe: How.
        device: Where.

    Raises:
        SpecError: If recipe and network do not go together.
        InputError: If the network is not for RGB images, or crops do not fit it.
    """
    check_fits(vae, recipe)
    choose_trained(vae, recipe.train)
    vae.to(device, torch.float32, memory_format=torch.channels_last if recipe.channels_last else torch.preserve_format)
    task = Task(vae, recipe).to(device).train()
    check_game(task, recipe)
    average = ModelEmaV3(
        vae,
        decay=recipe.ema.decay,
        use_warmup=True,
        warmup_gamma=recipe.ema.gamma,
        warmup_power=recipe.ema.power,
        exclude_buffers=True,
    ).requires_grad_(False)
    rest = recipe.schedule, recipe.steps, recipe.clip
    updater = Updater(nn.ModuleList([vae, task.losses, task.regularizers]), recipe.optimizer, *rest)
    against = Updater(task.adversary, recipe.discriminator.optimizer, *rest) if task.adversary else None
    return State(task, average, updater, against, Progress())


def check_fits(vae: VAE, recipe: Recipe) -> None:
    """Raise unless a network, which may be on the meta device, can be trained by a recipe.

    Raises:
        InputError: If it is not for RGB images, or a size is no multiple of what it takes.
        SpecError: If it cannot start as the recipe says.
    """
    if vae.spec.image.channels != 3:
        raise InputError(f"{vae.spec.label} has images of {vae.spec.image.channels} channels; photos have 3")
    for what, sizes in (("data.sizes", recipe.data.sizes), ("validation.size", (recipe.validation.size,))):
        if odd := [size for size in sizes if size % vae.size_multiple]:
            raise InputError(f"{what} {odd[0]}: {vae.spec.label} takes multiples of {vae.size_multiple} pixels")
    if recipe.start == "resampler":
        check_start(vae)
