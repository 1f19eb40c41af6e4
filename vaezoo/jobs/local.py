"""Run jobs in processes of this machine, several at a time."""

import os
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from vaezoo.io.python_command import python_command
from vaezoo.jobs.job import Job, OnExit
from vaezoo.specs.catalog import catalog_environment
from vaezoo.training.signals import stop_signals

POLL = 0.1  # seconds between two looks at the running processes
VISIBLE = "CUDA_VISIBLE_DEVICES"
_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class _Running:
    job: Job
    slot: int
    process: subprocess.Popen[bytes]
    started: float


def run_jobs(jobs: Iterable[Job], limit: int, on_exit: OnExit) -> str | None:
    """Run jobs until all of them have ended, or a signal arrives.

    SIGTERM and Ctrl-C are passed on to the running jobs as SIGTERM; no further job is started. An exception raised here
    or in `on_exit` stops the running jobs as well, so none outlives its scheduler.

    Args:
        jobs: The jobs; each is taken from the iterable when a process is free for it.
        limit: Number of jobs that run at the same time, at least 1. Unless `OMP_NUM_THREADS` is set, they share the
            processors evenly. If there are several GPUs, each of these jobs sees one of them, in turn.
        on_exit: Called with each job that ended, its exit status (negative: the signal that killed it) and the
            seconds it took.

    Returns:
        The name of the signal that stopped the jobs, or `None` if all of them ran.
    """
    waiting, gpus = iter(jobs), visible_gpus()
    running: list[_Running] = []
    with stop_signals() as signals:
        try:
            while True:
                while len(running) < limit and not signals and (job := next(waiting, None)):
                    slot = min(set(range(limit)) - {each.slot for each in running})
                    running.append(_start(job, slot, limit, gpus))
                if not running:
                    break
                if signals:
                    _terminate(running)
                for each in [each for each in running if each.process.poll() is not None]:
                    running.remove(each)
                    on_exit(each.job, each.process.returncode, time.monotonic() - each.started)
                time.sleep(POLL)
        finally:
            _terminate(running)
    return signals[0] if signals else None


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, each as a value of `CUDA_VISIBLE_DEVICES`."""
    names = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    count = torch.cuda.device_count()
    return names[:count] or [str(index) for index in range(count)]


def _start(job: Job, slot: int, limit: int, gpus: Sequence[str]) -> _Running:
    # more threads than processors would wait for each other
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // limit)), **catalog_environment()}
    environment = {name: value for name, value in threads.items() if name not in _TORCHRUN}
    if job.gpu and len(gpus) > 1:
        environment[VISIBLE] = gpus[slot % len(gpus)]
    command = [*python_command(job.module), *job.arguments]
    with job.output.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    return _Running(job, slot, process, time.monotonic())


def _terminate(running: Sequence[_Running]) -> None:
    for each in running:
        each.process.terminate()
    for each in running:
        each.process.wait()
