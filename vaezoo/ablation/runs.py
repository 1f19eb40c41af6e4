"""The runs of an ablation, each in a process of its own, some at a time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vaezoo.ablation.plan import Plan, Run
from vaezoo.ablation.run_results import OUTPUT, RECIPE, RESULT, read_result, write_result, write_tables
from vaezoo.ablation.run_worker import STOPPED, TAKEN
from vaezoo.io.files import make_folder, write_text
from vaezoo.jobs.claims import holder
from vaezoo.training.recipes import recipe_text
from vaezoo.training.run import stop_signals

WORKER = (sys.executable, "-m", "vaezoo.ablation.run_worker")
_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Manner:
    """How runs are made: `jobs` at a time, on a `device`, judged by `nets`, whatever the hosts `released` claim."""

    jobs: int = 1
    device: str | None = None
    nets: tuple[str, ...] = ()
    released: tuple[str, ...] = ()


@dataclass
class _Job:
    run: Run
    process: subprocess.Popen
    begun: float


def run_all(plan: Plan, runs: Sequence[Run], manner: Manner, say: Callable[[str], None] = print) -> str | None:
    """Make those of the runs that are missing and that nobody else has claimed; returns the signal that ended it early.

    SIGTERM and Ctrl-C let the runs at hand save themselves; what is done is in the tables at any time.

    Raises:
        FileError: If the folder cannot be written.
    """
    waiting = [run for run in runs if read_result(plan.folder_of(run)) is None]
    say(f"{len(runs)} runs, {len(runs) - len(waiting)} done before")
    working: list[_Job] = []
    with stop_signals() as signals:
        try:
            while working or (waiting and not signals):
                while waiting and len(working) < manner.jobs and not signals:
                    if job := _start(plan, waiting.pop(0), manner, say):
                        working.append(job)
                if signals:
                    _stop(working)
                for job in [job for job in working if job.process.poll() is not None]:
                    working.remove(job)
                    _finish(plan, job, say)
                time.sleep(0.1)
        finally:
            _stop(working)  # after a fault of ours no run goes on without its scheduler
    return signals[0] if signals else None


def _start(plan: Plan, run: Run, manner: Manner, say: Callable[[str], None]) -> _Job | None:
    folder = make_folder(plan.folder_of(run))
    if other := holder(folder, manner.released):
        say(f"{_title(run)}: claimed by {other}; --release {other.host} if that process has ended")
        return None
    write_text(folder / RECIPE, recipe_text(run.recipe))
    command = [*WORKER, str(folder)]
    command += ["--device", manner.device] if manner.device else []
    command += ["--nets", *manner.nets, "--release", *manner.released]
    # threads of several processes would wait for each other
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // manner.jobs)), **os.environ}
    environment = {name: value for name, value in threads.items() if name not in _TORCHRUN}
    with (folder / OUTPUT).open("a", encoding="utf-8") as output:  # somebody else may write to it, who is faster
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    return _Job(run, process, time.monotonic())


def _stop(working: Sequence[_Job]) -> None:
    for job in working:
        job.process.terminate()
    for job in working:
        job.process.wait()


def _finish(plan: Plan, job: _Job, say: Callable[[str], None]) -> None:
    """Tell how a run ended; one that failed becomes a row that says why."""
    folder, status = plan.folder_of(job.run), job.process.returncode
    took = f"{time.monotonic() - job.begun:.0f} s"
    if status in (TAKEN, STOPPED, -signal.SIGTERM, -signal.SIGINT):  # Ctrl-C reaches a worker that only begins, too
        say(f"{_title(job.run)}: {'stopped' if status != TAKEN else 'claimed by somebody else'}")
        return
    if status != 0 and not (folder / RESULT).exists():
        write_result(
            folder, {"error": _reason(status, (folder / OUTPUT).read_text(encoding="utf-8", errors="replace"))}
        )
    result = read_result(folder)
    psnr = "no finite PSNR" if result.get("psnr") is None else f"PSNR {result['psnr']:.2f} dB"
    said = f"failed: {result['error']} ({folder / OUTPUT})" if result.get("error") else psnr
    say(f"{_title(job.run)}: {said}, {took}")
    write_tables(plan)


def _reason(status: int, output: str) -> str:
    """The last line of what a process said, or the signal that ended it."""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][-500:] if lines else f"exit status {status}"


def _title(run: Run) -> str:
    return f"{run.variant.name}, seed {run.seed}"
