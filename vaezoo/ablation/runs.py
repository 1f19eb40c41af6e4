"""Make the runs of an ablation that are missing, each in a process of its own."""

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from vaezoo.ablation.plan import AblationPlan, AblationRun
from vaezoo.ablation.run_results import OUTPUT, RESULT, is_final, read_result, write_result, write_tables
from vaezoo.ablation.run_worker import LOCKED, STOPPED, TEMPORARY
from vaezoo.errors import FileError
from vaezoo.io.files import write_text
from vaezoo.io.folder_lock import folder_lock
from vaezoo.jobs.job import Job, failure_of
from vaezoo.jobs.job_engine import Engine
from vaezoo.training.artifacts import RECIPE
from vaezoo.training.recipes import recipe_text

WORKER = "vaezoo.ablation.run_worker"
IN_PROGRESS = "another process is making it"
STOPPED_STATUSES = (STOPPED, -signal.SIGTERM, -signal.SIGINT)  # Ctrl-C also reaches a worker that is still starting
REASON_LENGTH = 500  # characters of the last output line that are kept as the error of a run


@dataclass(frozen=True)
class RunOptions:
    """How the runs of an ablation are made.

    Args:
        engine: Where runs are made, and how many at the same time.
        device: Device to train on; `None` means a GPU if there is one, otherwise the CPU.
        nets: Names of the networks that evaluate the trained variants, as for `vaezoo evaluate`.
    """

    engine: Engine = field(default_factory=Engine)
    device: str | None = None
    nets: tuple[str, ...] = ()


def make_runs(plan: AblationPlan, options: RunOptions, log: Callable[[str], None] = print) -> str | None:
    """Make every run of a plan that has no final result yet and that no other process is making.

    A run that failed for a temporary cause, such as a full disk or a signal, is made again.

    The tables of the ablation are rewritten after each run. SIGTERM and Ctrl-C let the running ones save a checkpoint,
    from which the next call resumes.

    Args:
        plan: The plan.
        options: How the runs are made.
        log: Called with one line of text per event.

    Returns:
        The name of the signal that stopped the runs, or `None`.

    Raises:
        FileError: If the folder of the plan cannot be written.
        InputError: If the Ray cluster cannot be used.
    """
    missing = [run for run in plan.runs if not is_final(read_result(plan.folder_of(run)))]
    log(f"{len(plan.runs)} runs, {len(plan.runs) - len(missing)} done before")

    def on_exit(job: Job, status: int, seconds: float) -> None:
        if status == LOCKED:
            log(f"{job.name}: {IN_PROGRESS}")
        elif status in STOPPED_STATUSES:
            log(f"{job.name}: stopped")
        else:
            log(f"{job.name}: {_outcome(job, status)}, {seconds:.0f} s")
            write_tables(plan)

    return options.engine.run(_jobs(plan, missing, options, log), on_exit)


def _jobs(
    plan: AblationPlan, missing: Sequence[AblationRun], options: RunOptions, log: Callable[[str], None]
) -> Iterator[Job]:
    """Yield the job of each run, unless another process has begun it by then."""
    for run in missing:
        name, folder = f"{run.variant.name}, seed {run.seed}", plan.folder_of(run)
        with folder_lock(folder) as free:
            if free:
                if not is_final(read_result(folder)):
                    (folder / RESULT).unlink(missing_ok=True)
                write_text(folder / RECIPE, recipe_text(run.recipe))
        if free:
            device = ["--device", options.device] if options.device else []
            arguments = [str(folder), *device, "--nets", *options.nets]
            yield Job(name, WORKER, arguments, folder / OUTPUT, gpu=options.device in (None, "cuda"))
        else:
            log(f"{name}: {IN_PROGRESS}")


def _outcome(job: Job, status: int) -> str:
    """Describe how a run ended; the result of one that failed is its error."""
    folder = job.output.parent
    if status != 0 and not (folder / RESULT).exists():
        error = failure_of(job, status)[-REASON_LENGTH:]
        write_result(folder, {"error": error, "temporary": status < 0 or status == TEMPORARY})
    result = read_result(folder)
    if result is None:
        raise FileError(f"{folder / RESULT}: missing although the run ended well; the same command makes it again")
    if result.get("error"):
        return f"failed: {result['error']} ({job.output})"
    return "no finite PSNR" if result.get("psnr") is None else f"PSNR {result['psnr']:.2f} dB"
