"""The state of a training run: everything that a step changes."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from timm.utils import ModelEmaV3

from vaezoo.nn.vae import VAE
from vaezoo.training.objective.task import Task
from vaezoo.training.optim import Updater

_FLOATS = ("seconds", "best")


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

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Progress":
        """Return the counters that `to_dict` returned.

        Raises:
            TypeError: If a counter is missing or has another type.
            ValueError: If a number is negative or not finite.
        """
        progress = cls(**data)
        numbers = {key: value for key, value in data.items() if key not in ("bad", "best", "best_step")}
        optional = {key: value for key, value in data.items() if key in ("best", "best_step") and value is not None}
        for key, value in {**numbers, **optional}.items():
            if isinstance(value, bool) or not isinstance(value, (int, float) if key in _FLOATS else int):
                raise TypeError(f"{key} is {value!r:.40}")
            if not math.isfinite(value) or (value < 0 and key != "best"):
                raise ValueError(f"{key} is {value}")
        if not isinstance(progress.bad, list) or not all(isinstance(text, str) for text in progress.bad):
            raise TypeError("bad is not a list of messages")
        return progress


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
