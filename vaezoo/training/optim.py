"""Optimisers and schedules of timm."""

import math

from timm.optim import create_optimizer_v2, get_optimizer_info
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from vaezoo.errors import SpecError
from vaezoo.training.recipe_schema import OptimizerConfig, ScheduleConfig


class Updater:
    """Updates of one set of parameters: clipping, optimiser and learning rate.

    Args:
        module: Those of its parameters that need a gradient are updated.
        optimizer: Settings of the optimiser.
        schedule: Of the learning rate.
        steps: Updates in all.
        clip: Largest norm of the gradient; None does not clip.

    Raises:
        SpecError: If this optimiser does not take the settings.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: OptimizerConfig,
        schedule: ScheduleConfig,
        steps: int,
        clip: float | None,
    ) -> None:
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(module, optimizer)
        self.schedule = make_schedule(self.optimizer, schedule, optimizer.lr, steps)
        self.limit = math.inf if clip is None else clip

    def update(self, step: int) -> Tensor:
        """Make update number `step` (0 is the first) and forget the gradient; returns its norm before clipping.

        Where that is not finite nothing is changed.
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
        return self.optimizer.param_groups[0]["lr"]


def make_optimizer(module: nn.Module, settings: OptimizerConfig) -> Optimizer:
    """An optimiser of the parameters of `module` that need a gradient; norms and biases have no weight decay.

    Raises:
        SpecError: If this optimiser does not take the settings, or there is nothing to train.
    """
    options = {"betas": settings.betas, "eps": settings.eps, "momentum": settings.momentum}
    options = {key: value for key, value in options.items() if value is not None}
    info = get_optimizer_info(settings.name)
    if odd := [key for key in options if not getattr(info, f"has_{key}")]:  # timm would leave them out and say nothing
        raise SpecError(f"optimizer {settings.name} takes no {' and no '.join(odd)}")
    if settings.betas and len(settings.betas) != info.num_betas:
        raise SpecError(f"optimizer {settings.name} takes {info.num_betas} betas, not {len(settings.betas)}")
    try:
        return create_optimizer_v2(
            module,
            opt=settings.name,
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            **options,
        )
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise SpecError(f"optimizer {settings.name}: timm cannot make it with these settings ({error})") from error


def make_schedule(optimizer: Optimizer, settings: ScheduleConfig, lr: float, steps: int) -> Scheduler:
    """The learning rate over `steps`; `step_update(n)` sets that of update n (0 is the first)."""
    options = {"step": {"decay_rate": 1.0}, "poly": {"decay_rate": 1.0}}
    name = "step" if settings.name == "constant" else settings.name
    schedule, _ = create_scheduler_v2(
        optimizer,
        sched=name,
        num_epochs=steps,
        warmup_epochs=settings.warmup,
        warmup_lr=lr / max(settings.warmup, 1),
        min_lr=lr * settings.end,
        step_on_epochs=False,
        updates_per_epoch=1,
        **options.get(name, {}),
    )
    return schedule
