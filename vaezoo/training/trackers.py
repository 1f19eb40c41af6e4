"""Experiment trackers that receive the log of a run: TensorBoard, wandb and trackio, each an optional dependency."""

import contextlib
import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

from vaezoo.errors import InputError
from vaezoo.training.recipe_schema import Recipe
from vaezoo.training.recipes import without_paths

Track = Callable[[dict[str, Any]], None]


@contextlib.contextmanager
def tensorboard(run: Path, recipe: Recipe) -> Iterator[Track]:
    """Write scalars to `RUN/tensorboard`.

    Args:
        run: Run folder.
        recipe: Recipe of the run; not used.

    Yields:
        A function that takes one line of the log.

    Raises:
        InputError: If TensorBoard is not installed.
    """
    with _module("torch.utils.tensorboard", "tensorboard").SummaryWriter(run / "tensorboard") as writer:

        def track(line: dict[str, Any]) -> None:
            for name, value in _scalars(line).items():
                writer.add_scalar(name, value, line["step"])
            writer.flush()

        yield track


def wandb(run: Path, recipe: Recipe) -> AbstractContextManager[Track]:
    """Log to wandb, as a run of the project `vaezoo` that is named after the run folder; arguments of `tensorboard`.

    The recipe is its config, in which paths of this machine are shortened to names.
    """
    return _like_wandb(_module("wandb", "wandb"), run, recipe)


def trackio(run: Path, recipe: Recipe) -> AbstractContextManager[Track]:
    """Log to trackio, which has the interface of wandb; arguments of `tensorboard`."""
    return _like_wandb(_module("trackio", "trackio"), run, recipe)


TRACKERS: dict[str, Callable[[Path, Recipe], AbstractContextManager[Track]]] = {
    "tensorboard": tensorboard,
    "wandb": wandb,
    "trackio": trackio,
}


@contextlib.contextmanager
def _like_wandb(module: ModuleType, run: Path, recipe: Recipe) -> Iterator[Track]:
    module.init(project="vaezoo", name=run.name, config=without_paths(recipe).to_dict())
    try:
        yield lambda line: module.log(_scalars(line), step=line["step"])
    finally:
        module.finish()  # sends the last lines, which wait in a background thread


def _scalars(line: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in line.items() if name != "step"}


def _module(name: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"--track {extra}: {error}; pip install 'vaezoo[{extra}]'") from error
