"""Run jobs as tasks of a Ray cluster: on this machine or on several, which see the same files."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from vaezoo.errors import InputError
from vaezoo.io.python_command import python_command
from vaezoo.io.temporary import temporary_name
from vaezoo.jobs.job import Job, OnExit
from vaezoo.specs.catalog import catalog_environment
from vaezoo.specs.extensions import CONFIG_DIR, IMPORTS
from vaezoo.training.signals import stop_signals
from vaezoo.version import __version__

POLL = 0.2  # seconds between two looks at the running tasks
RETRIES = 3  # of a job whose process was killed or whose machine was lost
REACH, ANSWER = 5, 60  # seconds that a machine has to accept a connection, and Ray to answer
_TOKEN = "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to that of the cluster unless it is in ~/.ray/auth_token"
Outcome = tuple[int, float] | str  # exit status and seconds, or why the machine cannot run the job


@dataclass(frozen=True)
class _Task:
    job: Job
    started: float


def import_ray() -> ModuleType:
    """Import Ray.

    Raises:
        InputError: If it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError(f'--engine ray needs Ray: pip install "vaezoo[ray]" ({error})') from error
    return ray


def run_jobs(jobs: Iterable[Job], limit: int | None, on_exit: OnExit, address: str | None = None) -> str | None:
    """Run jobs as Ray tasks until all of them have ended, or a signal arrives.

    A job gets one GPU if the cluster has GPUs, otherwise its share of the processors. Ray runs it again if its process
    was killed or its machine was lost. SIGTERM and Ctrl-C, and an exception in `on_exit`, reach the running jobs as
    Ctrl-C, and are waited for; no further job is started.

    Args:
        jobs: The jobs; each is taken from the iterable when the cluster is free for it.
        limit: Number of jobs that run at the same time; `None` means as many as the cluster has room for.
        on_exit: Called with each job that ended, its exit status (negative: the signal that ended it) and the seconds
            it took.
        address: Cluster to use, as `HOST:PORT`; `None` means that of the variable `RAY_ADDRESS` or of this machine,
            and without a cluster, one is started on this machine for the time of the call.

    Returns:
        The name of the signal that stopped the jobs, or `None` if all of them ran.

    Raises:
        InputError: If Ray is missing or cannot be reached, or a machine of the cluster has no or another vaezoo.
    """
    waiting, running = iter(jobs), dict[Any, _Task]()
    with _connected(address) as ray, stop_signals() as signals:
        canceled = False
        try:
            while True:
                while not signals and len(running) < (limit or _room(ray)) and (job := next(waiting, None)):
                    running[_submit(ray, job, limit)] = _Task(job, time.monotonic())
                if not running:
                    break
                if signals and not canceled:
                    canceled = _cancel(ray, running)
                for reference in ray.wait(list(running), timeout=POLL)[0]:
                    task = running.pop(reference)
                    on_exit(task.job, *_ended(ray, reference, task))
        finally:
            _cancel(ray, running)
            ray.wait(list(running), num_returns=len(running)) if running else None
    return signals[0] if signals else None


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[ModuleType]:
    """Connect this process to a cluster for the block, unless it is connected already."""
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    address = address or os.environ.get("RAY_ADDRESS")
    if address not in (None, "auto", "local"):
        _check_reachable(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    handler = signal.getsignal(signal.SIGTERM)  # which Ray replaces
    try:
        try:
            ray.init(address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            remedy = f"; {_TOKEN}" if "AuthenticationError" in str(error.__cause__) else ""
            raise InputError(f"--engine ray: Ray cannot be used on this machine ({reason}){remedy}") from error
        yield ray
    finally:
        ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _check_reachable(address: str) -> None:
    """Raise `InputError` unless a Ray cluster answers at an address, where `ray.init` would wait for one forever."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise InputError(f"{address}: no address of a Ray cluster; expected HOST:PORT, as `ray start --head` prints it")
    remedy = "start one there with `ray start --head`, or leave out --address to use this machine"
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH).close()
    except (OSError, OverflowError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{address}: no Ray cluster can be reached there ({reason}); {remedy}") from error
    command = [*python_command("ray.scripts.scripts"), "status", "--address", address]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER).stderr
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{address}: what listens there does not answer as a Ray cluster; {remedy}") from error
    if "AuthenticationError" in said:
        raise InputError(f"{address}: the Ray cluster refuses the token of this process; {_TOKEN}")


def _room(ray: ModuleType) -> int:
    """Return how many jobs the cluster can run at once: one per GPU, or if there are none one per processor."""
    resources = ray.cluster_resources()
    return max(1, int(resources.get("GPU") or resources.get("CPU") or 0))


def _submit(ray: ModuleType, job: Job, limit: int | None) -> Any:
    """Start a job as a task, and return the reference to its outcome."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    needs: dict[str, float] = {"num_cpus": 1}
    if job.gpu and any(node.get("GPU") for node in nodes):
        needs["num_gpus"] = 1
    elif limit and nodes:  # also the smallest machine can run it
        cpus = [node.get("CPU", 0) for node in nodes]
        needs["num_cpus"] = max(1, min(sum(cpus) // limit, *cpus))
    task = ray.remote(max_calls=1, max_retries=RETRIES, scheduling_strategy="SPREAD", **needs)(_function())
    folder = os.getcwd()
    not_ours = [] if {"", folder} & set(sys.path) else [folder]  # Ray adds it to the import path of tasks
    environment = {name: value for name, value in catalog_environment().items() if name in (CONFIG_DIR, IMPORTS)}
    call = (job.module, list(job.arguments), str(job.output))
    return task.options(name=job.name).remote(__version__, folder, not_ours, environment, *call)


def _function() -> Callable[..., Outcome]:
    """Return the function of a task, which Ray sends as code because it is local: a machine may have no vaezoo."""

    def work(version: str, folder: str, not_ours: list[str], environment: dict[str, str], *job: Any) -> Outcome:
        import os
        import socket
        import sys
        import time

        started, here = time.monotonic(), socket.gethostname()
        sys.path[:] = [path for path in sys.path if path not in not_ours]
        os.environ.update(environment)
        try:
            from vaezoo.jobs.ray_task import run_here
            from vaezoo.version import __version__
        except ImportError as error:
            return f"{here}: vaezoo cannot be imported there ({error}); install vaezoo {version} on each machine"
        if __version__ != version:
            return f"{here}: has vaezoo {__version__}, and this is vaezoo {version}; install the same on each machine"
        try:
            os.chdir(folder)
        except OSError as error:
            return f"{here}: has no folder {folder} ({error.strerror}); all machines must see the same files"
        return run_here(*job), time.monotonic() - started

    return work


def _ended(ray: ModuleType, reference: Any, task: _Task) -> tuple[int, float]:
    """Return exit status and seconds of a task that has ended."""
    errors, seconds = ray.exceptions, time.monotonic() - task.started
    try:
        outcome: Outcome = ray.get(reference)
    except errors.TaskCancelledError:
        return -signal.SIGINT, seconds
    except (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError):
        return -signal.SIGKILL, seconds
    except errors.RayTaskError:  # its traceback is in the output of the job
        return 1, seconds
    except errors.RayError as error:
        raise InputError(f"--engine ray: {task.job.name}: {' '.join(str(error).split())}") from error
    if isinstance(outcome, str):
        raise InputError(outcome)
    _refresh(task.job.output.parent)
    return outcome


def _refresh(folder: Path) -> None:
    """Let a network file system look again for files of a folder: it remembers for a while that one was missing."""
    with contextlib.suppress(OSError):
        mark = folder / temporary_name()
        mark.touch()
        mark.unlink()


def _cancel(ray: ModuleType, references: Iterable[Any]) -> bool:
    """Send tasks what Ctrl-C would send them."""
    for reference in references:
        ray.cancel(reference)
    return True
