"""A training run: a folder that is started, resumed after an interruption, and can be loaded at any time."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

from vaezoo.data.batches import make_dataset, make_loader, worker_errors
from vaezoo.data.photos import photos
from vaezoo.distributed import SINGLE, ProcessGroup
from vaezoo.evaluation.protocol import PROTOCOLS, evaluate
from vaezoo.io.files import make_folder, write_text
from vaezoo.io.temporary import sweep
from vaezoo.training.artifacts import GRIDS, PROTOCOL, RECIPE, draw_grid, latent_statistics
from vaezoo.training.checkpoint import FOLDER, prune, save_checkpoint
from vaezoo.training.log import Log
from vaezoo.training.loop import Meter, Stepper
from vaezoo.training.published import check_finite, is_published, publish
from vaezoo.training.recipe_schema import Recipe
from vaezoo.training.recipes import recipe_text
from vaezoo.training.signals import stop_signals
from vaezoo.training.start import check_folder, crop_sampler, rate_notice, run_lock, start
from vaezoo.training.state import Progress, State

OnMessage = Callable[[str], None]
OnLog = Callable[[dict[str, Any]], None]


class Report(NamedTuple):
    """The outcome of a run.

    Args:
        progress: Counters of the run.
        stopped: Name of the signal that ended the run before its last step, or `None`.
        psnr: PSNR of the last validation in dB, or `None` if there was none.
    """

    progress: Progress
    stopped: str | None
    psnr: float | None


def train(
    recipe: Recipe,
    folder: str | Path,
    group: ProcessGroup = SINGLE,
    resume: bool = False,
    on_message: OnMessage = print,
    on_log: OnLog | None = None,
) -> Report:
    """Train a VAE into a run folder, which `vaezoo.create("local-dir:FOLDER", pretrained=True)` can load at any time.

    SIGTERM and Ctrl-C end the run after the current step, with a checkpoint.

    Args:
        recipe: What to train, and how; see `read_recipe`.
        folder: Run folder: a new one, or with `resume` one that holds a run.
        group: This process among those that train together, from `vaezoo.distributed.process_group`; by default one
            process on the CPU.
        resume: Whether to continue from the last checkpoint in `folder`.
        on_message: Called with every message for people.
        on_log: Called with every line of the log, a dictionary.

    Returns:
        Counters, stop signal and validation PSNR of the run.

    Raises:
        FileError: If `folder` holds a run and `resume` is false, or holds none and `resume` is true, if there are no
            photos, or if the disk is full.
        SpecError: If the recipe does not fit the network or the run to resume.
        TrainingError: If too many steps in a row have no finite gradient, the weights are not finite, or a worker was
            killed.

    Examples:
        >>> import vaezoo
        >>> from vaezoo.specs.overrides import parse_settings
        >>> from vaezoo.training.recipes import read_recipe
        >>> from vaezoo.training.run import train
        >>> settings = parse_settings(["steps=2", "batch_size=1", "data.sizes=[16]", "validation.size=32"])
        >>> report = train(read_recipe("quickstart", settings), "run", on_message=lambda text: None)
        >>> report.progress.step
        2
        >>> vae = vaezoo.create("local-dir:run", pretrained=True)
    """
    run = Path(folder)
    with contextlib.ExitStack() as owned:
        if group.is_first:
            check_folder(run, recipe, resume)
            if resume:
                owned.enter_context(run_lock(run))
        group.wait()
        state = start(recipe, run, resume, group)
        training = TrainingRun(recipe, run, state, group, on_log if group.is_first else None)
        if group.is_first and not resume:
            owned.enter_context(run_lock(run))
            check_folder(run, recipe, resume)  # another process may have started a run here in the meantime
        if resume and group.is_first:
            on_message(f"{run}: resumed from step {state.progress.step}")
            if notice := rate_notice(run, recipe, state.progress.step):
                on_message(notice)
        if group.is_first and (warning := training.crops.find_bad_share()):
            on_message(f"{run}: {warning}")
        training.open()
        return training.train()


class TrainingRun:
    """A run in progress; see `train`.

    Args:
        recipe: What to train, and how.
        folder: Run folder.
        state: State to start or continue from.
        group: This process among those that train together.
        on_log: Called with every line of the log, if given.
    """

    def __init__(
        self, recipe: Recipe, folder: Path, state: State, group: ProcessGroup, on_log: OnLog | None = None
    ) -> None:
        self.recipe, self.folder, self.state, self.group, self.on_log = recipe, folder, state, group, on_log
        self.vae = state.averaged_vae  # the one that is validated and published
        self.photos = photos(recipe.validation.root)
        self.sampler = crop_sampler(recipe, state.progress, group)
        self.crops = make_dataset(self.sampler)
        self.loader = make_loader(self.crops, self.sampler, pin_memory=group.device.type == "cuda")
        if group.is_first:
            for photo in self.photos:
                photo.read()  # reports a bad one now and not at the first validation
        self.log: Log | None = None
        self.psnr: float | None = None
        encoder = state.task.vae.encoder.parameters()
        self.same_latents = self.vae.latent_stats is not None and not any(p.requires_grad for p in encoder)

    def open(self) -> None:
        """Write the recipe, and complete what an interruption left unfinished after the last checkpoint.

        Everything that can be wrong is checked before, so that errors leave no run behind.
        """
        recipe, folder, progress = self.recipe, self.folder, self.state.progress
        if not self.group.is_first:
            return
        write_text(make_folder(folder) / RECIPE, recipe_text(recipe))
        self.log = Log(folder, progress.step)
        for each in (folder, folder / FOLDER, folder / GRIDS):
            sweep(each, owned=True)
        prune(folder, recipe.keep, progress.best_step)
        if not is_published(self.vae, folder, progress.step):
            self.publish()
        if progress.step and self.draws_grid():
            draw_grid(self.vae, self.photos, recipe.validation.size, folder, progress.step)

    def train(self) -> Report:
        """Train until the last step or a stop signal."""
        progress, stepper = self.state.progress, Stepper(self.state, self.recipe, self.group)
        stopped = False
        with stop_signals() as signals, worker_errors("--resume continues the run"):
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
        """Log, validate, save and draw whatever is due after the current step.

        Args:
            meter: Losses and times since the last line of the log.
            stopped: Whether the run ends here.
        """
        recipe, step = self.recipe, self.state.progress.step
        end = step == recipe.steps
        if is_due(step, recipe.log_every) or end or stopped:
            self.log_losses(meter)
        best = (is_due(step, recipe.validation.every) or end) and self.validate()
        if is_due(step, recipe.checkpoint_every) or end or stopped or best:
            self.save()
        if self.group.is_first and self.draws_grid():
            draw_grid(self.vae, self.photos, recipe.validation.size, self.folder, step)
        self.group.wait()

    def draws_grid(self) -> bool:
        """Return whether a picture of reconstructions is due after the current step."""
        step, every = self.state.progress.step, self.recipe.grid_every
        return is_due(step, every) or (every > 0 and step == self.recipe.steps)

    def log_losses(self, meter: Meter) -> None:
        """Log the means over the steps since the last line."""
        progress = self.state.progress
        means = meter.line(self.group)
        progress.seconds += means.pop("seconds")
        self._log(
            step=progress.step,
            **means,
            lr=self.state.vae.lr,
            size=self.sampler.size_of(progress.step - 1),
            skipped=progress.skipped,
            bad_pictures=len(progress.bad),
            seconds=progress.seconds,
        )

    def validate(self) -> bool:
        """Measure the validation photos; return whether their PSNR is the best so far."""
        progress = self.state.progress
        psnr = 0.0  # only the first process measures
        if self.group.is_first:
            result = evaluate(self.vae, self.photos, self.recipe.validation.size, PROTOCOLS[PROTOCOL])
            psnr, stds = result.mean_psnr, cast(tuple[float, ...], result.figures["latent_std"])
            mean_std = sum(stds) / len(stds)
            self._log(step=progress.step, psnr=psnr, latent_std=mean_std, posterior_std=result.figures["posterior_std"])
        self.psnr = psnr = self.group.gather(psnr)[0]
        better = progress.best is None or psnr > progress.best
        if better:
            progress.best, progress.best_step = psnr, progress.step
        return better

    def save(self) -> None:
        """Save a checkpoint and update the published folder.

        Raises:
            TrainingError: In all processes, if the weights are not finite; earlier checkpoints are kept.
            FileError: If the disk is full.
        """
        check_finite(self.state, self.group)
        progress = self.state.progress
        progress.bad = sorted(set().union(*self.group.gather(progress.bad)))
        save_checkpoint(self.state, self.folder, self.recipe.keep, self.group)
        self.publish()

    def publish(self) -> None:
        """Update the published folder: averaged weights, latent statistics and model card."""
        if self.group.is_first:
            if not self.same_latents:
                self.vae.latent_stats = latent_statistics(self.vae, self.recipe, self.crops)
            publish(self.vae, self.folder, self.state.progress.step)

    def _log(self, **line: Any) -> None:
        if self.log:
            self.log.add(**line)
            if self.on_log:
                self.on_log(line)


def is_due(step: int, every: int) -> bool:
    """Return whether `step` is a multiple of `every`; never if `every` is 0."""
    return every > 0 and step % every == 0
