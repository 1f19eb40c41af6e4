"""A job: one piece of work that a process of its own does."""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """A call of a module's `main(arguments) -> int`, in a process of its own.

    A job can be run again: it does what is missing, and locks what it writes.

    Args:
        name: Name of the job for messages.
        module: Dotted name of the module. Run as `__main__`, it exits with what its `main` returns.
        arguments: Arguments of `main`.
        output: File that standard output and standard error are appended to.
        gpu: Whether the job uses a GPU that is chosen for it, if there are any; `False` if its arguments name a device.
    """

    name: str
    module: str
    arguments: Sequence[str]
    output: Path
    gpu: bool = True


OnExit = Callable[[Job, int, float], None]  # called with the job, its exit status and the seconds it took


def failure_of(job: Job, status: int) -> str:
    """Return why a job failed: the last line that it printed, or the signal that ended it.

    Args:
        job: The job.
        status: Its exit status; negative: the signal that ended it.
    """
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    text = job.output.read_text(encoding="utf-8", errors="replace") if job.output.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit status {status}"
