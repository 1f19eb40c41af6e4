"""Optimizers and learning rate schedules of timm."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from timm.optim import create_optimizer_v2, get_optimizer_info, list_optimizers
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from vaezoo.errors import SpecError
from vaezoo.specs.marks import Between

OPTIMIZERS = dict.fromkeys(list_optimizers())


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """An optimizer of timm.

    Args:
        name: Name of the optimizer in timm, such as adamw, muon or lion.
        lr: Learning rate after warm-up.
        betas: Coefficients of the running averages; null means the optimizer's default.
        momentum: Momentum; null means the optimizer's default.
        eps: Term added to the denominator; null means the optimizer's default.
        weight_decay: Weight decay of parameters with two or more dimensions; norms and biases have none.
    """

    name: Annotated[str, OPTIMIZERS]
    lr: Annotated[float, Between(0.0, 100.0)]
    betas: tuple[Annotated[float, Between(0.0, 1.0)], ...] | None = None
    momentum: Annotated[float, Between(0.0, 1.0)] | None = None
    eps: Annotated[float, Between(0.0, 1.0)] | None = None
    weight_decay: Annotated[float, Between(0.0, 10.0)] = 0.0


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """A learning rate schedule of timm.

    Args:
        name: Shape of the decay.
        warmup: Steps of linear warm-up.
        end: Final learning rate, as a share of the optimizer's `lr`.
        steps: Step at which the decay ends, after which the rate stays; null means the last step of the recipe.
    """

    name: Literal["cosine", "tanh", "poly", "constant"] = "cosine"
    warmup: Annotated[int, Between(0, 1_000_000_000)] = 0
    end: Annotated[float, Between(0.0, 1.0)] = 0.0
    steps: Annotated[int, Between(1, 1_000_000_000)] | None = field(default=None, metadata={"omit": None})


class Updater:
    """Clip gradients, set the learning rate and update parameters.

    Args:
        module: Module whose parameters that require a gradient are updated.
        optimizer: Settings of the optimizer.
        schedule: Settings of the learning rate schedule.
        steps: Total number of updates.
        clip: Largest norm of the gradient; `None` does not clip.

    Raises:
        SpecError: If the optimizer does not accept the settings.
    """

    def __init__(
        self, module: nn.Module, optimizer: OptimizerConfig, schedule: ScheduleConfig, steps: int, clip: float | None
    ) -> None:
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(module, optimizer)
        self.schedule = make_schedule(self.optimizer, schedule, optimizer.lr, steps)
        self.limit = math.inf if clip is None else clip

    def update(self, step: int) -> Tensor:
        """Update the parameters and reset their gradients; nothing is updated if the gradient is not finite.

        Args:
            step: Number of the update, counted from 0.

        Returns:
            Norm of the gradient before clipping, a scalar.
        """
        self.schedule.step_update(step)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.limit)
        if norm.isfinite():
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    @property
    def lr(self) -> float:
        """The learning rate of the last update."""
        lr: float = self.optimizer.param_groups[0]["lr"]
        return lr


def make_optimizer(module: nn.Module, settings: OptimizerConfig) -> Optimizer:
    """Create an optimizer of the parameters that require a gradient; norms and biases have no weight decay.

    Raises:
        SpecError: If the optimizer does not accept the settings, or no parameter requires a gradient.
    """
    options = {"betas": settings.betas, "eps": settings.eps, "momentum": settings.momentum}
    options = {key: value for key, value in options.items() if value is not None}
    info = get_optimizer_info(settings.name)
    if rejected := [key for key in options if not getattr(info, f"has_{key}")]:  # timm would silently ignore them
        raise SpecError(f"optimizer {settings.name} has no {' and no '.join(rejected)}")
    if settings.betas and len(settings.betas) != info.num_betas:
        raise SpecError(f"optimizer {settings.name} takes {info.num_betas} betas, not {len(settings.betas)}")
    try:
        return create_optimizer_v2(
            module, opt=settings.name, lr=settings.lr, weight_decay=settings.weight_decay, **options
        )
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise SpecError(f"optimizer {settings.name}: timm cannot create it with these settings ({error})") from error


def make_schedule(optimizer: Optimizer, settings: ScheduleConfig, lr: float, steps: int) -> Scheduler:
    """Create a learning rate schedule; its `step_update(n)` sets the learning rate of update n, counted from 0.

    Args:
        optimizer: The optimizer whose learning rate is set.
        settings: Settings of the schedule.
        lr: Learning rate after warm-up.
        steps: Total number of updates, at which the decay ends unless the settings say otherwise.
    """
    options: dict[str, Any] = {"decay_rate": 1.0} if settings.name in ("constant", "poly") else {}
    schedule, _ = create_scheduler_v2(
        optimizer,
        sched="step" if settings.name == "constant" else settings.name,
        num_epochs=settings.steps or steps,
        warmup_epochs=settings.warmup,
        warmup_lr=lr / max(settings.warmup, 1),
        min_lr=lr * settings.end,
        step_on_epochs=False,
        updates_per_epoch=1,
        **options,
    )
    return schedule


def rate_at(step: int, settings: ScheduleConfig, lr: float, steps: int) -> float:
    """Return the learning rate of an update.

    Args:
        step: Number of the update, counted from 0.
        settings: Settings of the schedule.
        lr: Learning rate after warm-up.
        steps: Total number of updates.
    """
    optimizer = torch.optim.SGD([torch.zeros(1)], lr)
    make_schedule(optimizer, settings, lr, steps).step_update(step)
    rate: float = optimizer.param_groups[0]["lr"]
    return rate
