"""The state of a training run: everything that a step changes."""

from dataclasses import asdict, dataclass, field
from typing import Any, cast

from timm.utils import ModelEmaV3

from vaezoo.nn.vae import VAE
from vaezoo.training.objective.task import Task
from vaezoo.training.optim import Updater


@dataclass
class Progress:
    """Counters of a run.

    Args:
        step: Number of updates made.
        seen: Number of crops taken, by all processes together.
        skipped: Number of steps without a finite gradient.
        streak: Number of such steps in a row, up to the last one.
        seconds: Training time in seconds.
        best: Highest validation PSNR in dB; `None` before the first validation.
        best_step: Step of that validation.
        bad: Messages about bad pictures that were skipped.
    """

    step: int = 0
    seen: int = 0
    skipped: int = 0
    streak: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int | None = None
    bad: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the counters as plain data."""
        return asdict(self)


@dataclass
class State:
    """Everything that a step changes.

    Args:
        task: The VAE, its losses and its discriminator.
        ema: Exponential moving average of the VAE's weights.
        vae: Optimizer and schedule of the VAE and of learned parameters of its losses.
        discriminator: Optimizer and schedule of the discriminator, if there is one.
        progress: Counters of the run.
    """

    task: Task
    ema: ModelEmaV3
    vae: Updater
    discriminator: Updater | None
    progress: Progress

    @property
    def averaged_vae(self) -> VAE:
        """The VAE with averaged weights, which is validated and published."""
        return cast(VAE, self.ema.module)  # timm declares any module

    @property
    def updaters(self) -> dict[str, Updater]:
        """The updaters by name."""
        return {"vae": self.vae, **({"discriminator": self.discriminator} if self.discriminator else {})}
