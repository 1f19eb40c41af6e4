"""A run: a folder that begins, goes on after an interruption, and can be published at any time."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vaezoo.data.photos import photo_files, photos
from vaezoo.distributed import ProcessGroup
from vaezoo.errors import CheckpointError, FileError, SpecError, TrainingError
from vaezoo.evaluation.protocol import PROTOCOLS, evaluate
from vaezoo.io.files import make_folder, write_text
from vaezoo.nn.vae import VAE
from vaezoo.sharing.save import check_savable, save
from vaezoo.specs.catalog import sample_photos
from vaezoo.training.checkpoint import checkpoints, restore_checkpoint, save_checkpoint
from vaezoo.training.crops import Plan, make_loader, size_of
from vaezoo.training.log import Log, read_log
from vaezoo.training.loop import Meter, Stepper
from vaezoo.training.recipe_schema import Recipe
from vaezoo.training.recipes import check_resumable, read_recipe, recipe_text
from vaezoo.training.snapshot import PROTOCOL, RECIPE, draw_grid, latent_statistics, training_text
from vaezoo.training.state import Progress, State, begin
from vaezoo.warmstart.as_resampler import start_as_resampler
from vaezoo.warmstart.grow import grow
from vaezoo.weights.config_json import CONFIG, read_network
from vaezoo.zoo.create import create

Say = Callable[[str], None]
Show = Callable[[dict[str, Any]], None]


class Report(NamedTuple):
    """How a run ended: where it is, the signal that ended it before its last step, the last validation PSNR in dB."""

    progress: Progress
    stopped: str | None
    psnr: float | None


def train(
    recipe: Recipe,
    folder: str | Path,
    group: ProcessGroup,
    resume: bool = False,
    say: Say = print,
    show: Show | None = None,
) -> Report:
    """Train by a recipe, into a run folder that `create("local-dir:FOLDER", pretrained=True)` can read all the while.

    SIGTERM and Ctrl-C save a checkpoint and end the run after the step at hand.

    Args:
        recipe: How.
        folder: The run folder; new, or with `resume` one that was begun.
        group: This process among those that train together.
        resume: Go on from the last checkpoint.
        say: Takes sentences for people.
        show: Takes each line of the log.

    Raises:
        FileError: If the folder holds a run and `resume` is not asked for, or the other way round, or the disk is full.
        SpecError: If the recipe does not fit the network, or the run that it resumes.
        TrainingError: If the gradient stays infinite.
    """
    run = Path(folder)
    if group.is_first:
        _check_folder(run, recipe, resume)
    group.wait()
    found = checkpoints(run) if resume else []
    torch.manual_seed(recipe.seed)
    state = begin(_as_published(run) if found else first_network(recipe), recipe, group.device)
    if found:
        restore_checkpoint(state, found[-1], group)
    if state.progress.step > recipe.steps:
        raise SpecError(f"{run}: is at step {state.progress.step} already, past the recipe's steps: {recipe.steps}")
    if resume:
        say(f"{run}: resumed from step {state.progress.step}")
    return Run(recipe, run, state, group, say, show or _silent).go()


def first_network(recipe: Recipe) -> VAE:
    """The network that a recipe begins with, and the weights that it begins from; arguments and errors of `create`."""
    name, pretrained, network = recipe.network, recipe.pretrained, None
    if isinstance(pretrained, str):
        name, pretrained, network = pretrained, True, recipe.network
    vae = create(name, pretrained, overrides=recipe.overrides, network=network)
    if recipe.start == "resampler":
        start_as_resampler(vae)
    return grow(create(recipe.grow, pretrained=True), vae.spec) if recipe.grow else vae


class Run:
    """A run under way; see `train`."""

    def __init__(self, recipe: Recipe, folder: Path, state: State, group: ProcessGroup, say: Say, show: Show) -> None:
        self.recipe, self.folder, self.state, self.group = recipe, folder, state, group
        self.say, self.show = (say, show) if group.is_first else (_silent, _silent)
        progress = state.progress
        self.vae = state.ema.module  # what is judged and published
        self.photos = photos(recipe.validation.root) if recipe.validation.root else photo_files(sample_photos())
        plan = Plan(recipe, progress.step, progress.seen, group.rank, group.world_size)
        self.loader = make_loader(recipe, plan, pin_memory=group.device.type == "cuda")
        for photo in self.photos if group.is_first else ():
            photo.read()  # a bad one is told now and not at the first validation
        if group.is_first:  # what failed before leaves no run behind
            write_text(make_folder(folder) / RECIPE, recipe_text(recipe))
        self.log = Log(folder, progress.step) if group.is_first else None
        self.psnr: float | None = None
        encoder = state.task.vae.encoder.parameters()
        self.same_latents = self.vae.latent_stats is not None and not any(p.requires_grad for p in encoder)
        if not checkpoints(folder):
            self.publish()

    def go(self) -> Report:
        """Step until the last step, or a signal."""
        progress, stepper = self.state.progress, Stepper(self.state, self.recipe, self.group)
        stopped = False
        with stop_signals() as signals:
            batches, meter = iter(self.loader), Meter()
            while progress.step < self.recipe.steps and not stopped:
                with meter.waiting():
                    taken = [next(batches) for _ in range(self.recipe.accumulate)]
                meter.add(stepper.step(taken), sum(len(batch.numbers) for batch in taken))
                progress.bad = sorted({*progress.bad, *(text for batch in taken for text in batch.bad)})
                stopped = self.group.any(bool(signals))
                self.after_step(meter, stopped)
        return Report(progress, signals[0] if signals else None, self.psnr)

    def after_step(self, meter: Meter, stopped: bool) -> None:
        """Log, validate, draw and save what is due."""
        recipe, step = self.recipe, self.state.progress.step
        end = step == recipe.steps
        if due(step, recipe.log_every) or end or stopped:
            self.write(meter)
        best = (due(step, recipe.validation.every) or end) and self.validate()
        if due(step, recipe.checkpoint_every) or end or stopped or best:
            self.check()
            self.state.progress.bad = sorted(set().union(*self.group.gather(self.state.progress.bad)))
            save_checkpoint(self.state, self.folder, recipe.keep, self.group)
            self.publish()
        if self.group.is_first and (due(step, recipe.grid_every) or (end and recipe.grid_every)):
            draw_grid(self.vae, recipe, self.photos, self.folder, step)
        self.group.wait()

    def write(self, meter: Meter) -> None:
        """One line of the log."""
        progress = self.state.progress
        line = meter.line(self.group)
        progress.seconds += line.pop("seconds")
        rest = {
            "lr": self.state.vae.lr,
            "size": size_of(self.recipe, progress.step - 1),
            "skipped": progress.skipped,
            "bad_pictures": len(progress.bad),
            "seconds": progress.seconds,
        }
        self._log({"step": progress.step, **line, **rest})

    def validate(self) -> bool:
        """Measure the validation photos; returns whether this is the best so far."""
        progress = self.state.progress
        psnr = 0.0
        if self.group.is_first:
            found = evaluate(self.vae, self.photos, self.recipe.validation.size, PROTOCOLS[PROTOCOL])
            psnr, spread = found.mean_psnr, found.figures["latent_std"]
            stds = {"latent_std": sum(spread) / len(spread), "posterior_std": found.figures["posterior_std"]}
            self._log({"step": progress.step, "psnr": psnr, **stds})
        self.psnr = psnr = self.group.gather(psnr)[0]
        better = progress.best is None or psnr > progress.best
        if better:
            progress.best, progress.best_step = psnr, progress.step
        return better

    def check(self) -> None:
        """Raise `TrainingError` in all processes where the weights are of no use, so that earlier checkpoints stay."""
        fault = ""
        if self.group.is_first:
            try:
                check_savable(self.vae)
                check_savable(self.state.task.vae)
            except CheckpointError as error:
                fault = str(error)
        if fault := self.group.gather(fault)[0]:
            raise TrainingError(
                f"step {self.state.progress.step}: {fault}. Begin another run with a lower optimizer.lr, "
                "from these weights by network: local-dir:RUN and pretrained: true if they were good before"
            )

    def publish(self) -> None:
        """Bring the published folder up to date."""
        if self.group.is_first:
            if not self.same_latents:
                self.vae.latent_stats = latent_statistics(self.vae, self.recipe, self.loader.dataset)
            save(self.vae, self.folder, training=training_text(self.folder))

    def _log(self, line: dict[str, Any]) -> None:
        if self.log:
            self.log.add(**line)
            self.show(line)


def due(step: int, every: int) -> bool:
    """Whether `step` is one of every so many; 0 is never."""
    return every > 0 and step % every == 0


@contextlib.contextmanager
def stop_signals() -> Iterator[list[str]]:
    """Within the block SIGTERM and SIGINT (Ctrl-C) are noted, not obeyed; a second Ctrl-C is obeyed."""
    noted: list[str] = []

    def note(number: int, frame: object) -> None:
        if noted and number == signal.SIGINT:
            raise KeyboardInterrupt
        noted.append(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():
        yield noted  # Python allows handlers in the main thread only
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_folder(run: Path, recipe: Recipe, resume: bool) -> None:
    """See that the folder holds no run, or the one to resume."""
    path = run / RECIPE
    if resume:
        if not path.is_file():
            raise FileError(f"{run}: no run to resume, there is no {RECIPE} in it; leave --resume out to begin one")
        before = read_recipe(path)
        check_resumable(before, recipe, str(run))
        last = max((line["step"] for line in read_log(run)), default=0)
        if last > before.checkpoint_every and not checkpoints(run):
            raise FileError(
                f"{run}: its log goes to step {last}, but its checkpoints are gone; begin anew with another --out"
            )
    elif path.exists():
        raise FileError(f"{run}: holds a run already; --resume goes on with it, another --out begins a new one")


def _as_published(run: Path) -> VAE:
    """The network of a run, and the statistics of its latents; a checkpoint has the weights."""
    vae = create(f"local-dir:{run}")
    vae.latent_stats = read_network(run / CONFIG).config.latent_stats
    return vae


def _silent(said: Any) -> None:
    pass
