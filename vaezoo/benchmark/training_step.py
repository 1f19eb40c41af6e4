"""The training step that is measured: the trainer's own, of L1 and KL, with AdamW."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vaezoo.benchmark.case import Job
from vaezoo.data.settings import DataConfig
from vaezoo.training.objective.task import Task
from vaezoo.training.optim import OptimizerConfig, ScheduleConfig, Updater
from vaezoo.training.recipe_schema import LossTerm, Recipe

ADAMW = OptimizerConfig(name="adamw", lr=1e-5, betas=(0.9, 0.99), weight_decay=0.01)
LOSSES = (LossTerm(kind="l1", weight=1.0), LossTerm(kind="kl", weight=1e-6))


def training_step(network: nn.Module, job: Job, images: Tensor, noise: Tensor) -> Callable[[], Tensor]:
    """A function that makes one step and returns its loss: forward, backward, clipping, update; no average, data, log.

    Args:
        network: In training mode; its weights change.
        job: What is measured.
        images: The batch, (B, channels, size, size) in [-1, 1].
        noise: Of the posterior's sample, in the shape of the batch's latents.
    """
    recipe = _recipe(job)
    task = Task(network, recipe).to(job.device).train()
    updater = Updater(network, recipe.optimizer, recipe.schedule, recipe.steps, recipe.clip)
    unused = torch.Generator()

    def step() -> Tensor:
        loss = task("vae", images, noise, 0, unused)["loss"]
        loss.backward()
        updater.update(0)
        return loss.detach()

    return step


def _recipe(job: Job) -> Recipe:
    return Recipe(
        network=job.name,
        steps=1,
        batch_size=job.batch,
        precision=job.dtype,
        channels_last=job.channels_last,
        data=DataConfig(sizes=(job.size,)),
        losses=LOSSES,
        optimizer=ADAMW,
        schedule=ScheduleConfig(name="constant"),
    )
