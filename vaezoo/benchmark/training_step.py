"""The training step that is measured: the one of the trainer, with L1 and KL losses and AdamW."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from vaezoo.benchmark.case import BenchmarkCase
from vaezoo.data.settings import DataConfig
from vaezoo.nn.vae import VAE
from vaezoo.training.objective.task import Task
from vaezoo.training.optim import OptimizerConfig, ScheduleConfig, Updater
from vaezoo.training.recipe_schema import LossTerm, Recipe

ADAMW = OptimizerConfig(name="adamw", lr=1e-5, betas=(0.9, 0.99), weight_decay=0.01)
LOSSES = (LossTerm(kind="l1", weight=1.0), LossTerm(kind="kl", weight=1e-6))


def training_step(network: nn.Module, case: BenchmarkCase, images: Tensor, noise: Tensor) -> Callable[[], Tensor]:
    """Return a function that makes one training step: forward, backward, gradient clipping and update.

    It has no data loading, logging or weight averaging.

    Args:
        network: nn.Module in training mode; its weights change with each step.
        case: The benchmark case.
        images: Batch of shape (B, C, size, size) with values in [-1, 1].
        noise: Noise of the posterior's sample, in the shape of the latents of the batch.

    Returns:
        The function, which returns the loss.
    """
    recipe = _recipe(case)
    # the peer has what Task uses of a VAE
    task = Task(cast(VAE, network), recipe).to(case.device).train()
    updater = Updater(network, recipe.optimizer, recipe.schedule, recipe.steps, recipe.clip)
    unused = torch.Generator()

    def step() -> Tensor:
        loss = task("vae", images, noise, 0, unused)["loss"]
        loss.backward()
        updater.update(0)
        return loss.detach()

    return step


def _recipe(case: BenchmarkCase) -> Recipe:
    return Recipe(
        network=case.name,
        steps=1,
        batch_size=case.batch,
        precision="bf16" if case.dtype == "bf16" else "fp32",
        channels_last=case.channels_last,
        data=DataConfig(sizes=(case.size,)),
        losses=LOSSES,
        optimizer=ADAMW,
        schedule=ScheduleConfig(name="constant"),
    )
