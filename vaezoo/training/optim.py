"""Optimisers and schedules of timm."""

from collections.abc import Iterable

from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import nn
from torch.optim import Optimizer

from vaezoo.errors import SpecError
from vaezoo.training import recipe as recipes


def make_optimizer(module: nn.Module, settings: recipes.Optimizer) -> Optimizer:
    """An optimiser of the parameters of `module` that need a gradient; norms and biases have no weight decay.

    Raises:
        SpecError: If this optimiser does not take the settings, or there is nothing to train.
    """
    options = {"betas": settings.betas, "eps": settings.eps}
    options = {key: value for key, value in options.items() if value is not None}
    try:
        return create_optimizer_v2(
            module,
            opt=settings.name,
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            momentum=settings.momentum,
            **options,
        )
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise SpecError(f"optimizer {settings.name}: timm cannot make it with these settings ({error})") from error


def make_schedule(optimizer: Optimizer, settings: recipes.Schedule, lr: float, steps: int) -> Scheduler:
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


def trained(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """The parameters that get a gradient."""
    return [p for module in modules for p in module.parameters() if p.requires_grad]
