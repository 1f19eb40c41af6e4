"""Short trainings and ablations whose files are the same each time, for tests that kill them."""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support.ablations import write_question
from support.training import quiet, tiny_recipe
from vaezoo.ablation import run_worker
from vaezoo.ablation.run_results import OUTPUT as OUTPUT
from vaezoo.cli import main
from vaezoo.io.files import make_folder
from vaezoo.jobs.job import Job, OnExit
from vaezoo.jobs.job_engine import Engine
from vaezoo.training import artifacts, loop

SETTINGS = ("steps=3", "checkpoint_every=1", "keep=1", "grid_every=3", "data.sizes=[8]", "validation.every=2")


def same_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write no measured times, run workers in this process, and measure and show less."""
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: 0.0))
    monkeypatch.setattr(Engine, "run", _run_inline)
    monkeypatch.setattr(artifacts, "STATISTICS_CROPS", 4)
    monkeypatch.setattr(run_worker, "CROPS", 1)


def prepare_training(folder: Path) -> Callable[[], Any]:
    """Return a function that trains a short run in `folder/run`, or resumes it."""
    recipe, run = tiny_recipe(folder, *SETTINGS), make_folder(folder / "run")
    return lambda: quiet(recipe, run, resume=(run / "recipe.yaml").exists())


def prepare_ablation(folder: Path) -> Callable[[], Any]:
    """Return a function that makes an ablation of two short runs in `folder/out`."""
    question = write_question(folder, grid="{latent.channels: [3]}", steps="1", seeds="[0]", sizes="[32]")
    command = ["ablate", str(question), "--out", str(make_folder(folder / "out")), "--no-report"]

    def ablate() -> None:
        assert main(command) == 0

    return ablate


def _run_inline(engine: Engine, jobs: Iterable[Job], on_exit: OnExit) -> None:
    """Run each job in this process, so that a kill ends the command and its worker, as a lack of memory does."""
    for job in jobs:
        with job.output.open("a") as output, contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            status = run_worker.main(list(job.arguments))
        on_exit(job, status, 0.0)
