"""Choose where jobs run: in processes of this machine, or in the tasks of a Ray cluster."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from dataclasses import dataclass

from vaezoo.errors import InputError
from vaezoo.jobs import local, ray_cluster
from vaezoo.jobs.job import Job, OnExit
from vaezoo.zoo.create import usable_device

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Engine:
    """Where jobs run, and how many at the same time.

    Args:
        kind: "local" for processes of this machine, or "ray" for tasks of a Ray cluster.
        jobs: Number of jobs at the same time; `None` means 1 on this machine, and on a cluster as many as it has GPUs,
            or if it has none processors.
        address: Ray cluster as `HOST:PORT`; `None` means the one of the variable `RAY_ADDRESS` or of this machine;
            without a cluster, one is started on this machine.

    Raises:
        InputError: If a value is not valid, or Ray is not installed.
    """

    kind: str = "local"
    jobs: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in ENGINES:
            raise InputError(f"engine {self.kind}: expected {' or '.join(ENGINES)}")
        if self.jobs is not None and self.jobs < 1:
            raise InputError(f"--jobs {self.jobs}: expected 1 or more")
        if self.kind == "ray":
            ray_cluster.import_ray()
        elif self.address is not None:
            raise InputError(f"--address {self.address}: only --engine ray has an address; add it")

    def check_device(self, device: str | None) -> None:
        """Check the device that jobs are to use.

        Raises:
            InputError: If this machine, which is to run them, cannot use it, or if it names one GPU of several
                machines.
        """
        if device and self.kind == "local":
            usable_device(device)
        elif device and ":" in device:
            raise InputError(f"--device {device}: Ray chooses the GPU of a job; leave --device out, or say cuda or cpu")

    def run(self, jobs: Iterable[Job], on_exit: OnExit) -> str | None:
        """Run jobs until all of them have ended, or a signal arrives; see `run_jobs` of either engine.

        Args:
            jobs: The jobs; each is taken from the iterable when there is room for it.
            on_exit: Called with each job that ended, its exit status (negative: the signal that ended it) and the
                seconds it took.

        Returns:
            The name of the signal that stopped the jobs, or `None` if all of them ran.

        Raises:
            InputError: If the Ray cluster cannot be used.
        """
        if self.kind == "ray":
            return ray_cluster.run_jobs(jobs, self.jobs, on_exit, self.address)
        return local.run_jobs(jobs, self.jobs or 1, on_exit)


def add_engine_arguments(arguments: ArgumentParser, what: str) -> None:
    """Add `--jobs`, `--engine` and `--address`.

    Args:
        arguments: The parser of a command.
        what: What a job makes, in the plural, such as "runs".
    """
    add = arguments.add_argument
    add("--jobs", type=int, help=f"number of {what} at the same time (default: 1; with Ray, all that have room)")
    add("--engine", choices=ENGINES, default="local", help="processes of this machine (default), or a Ray cluster")
    add("--address", metavar="HOST:PORT", help="the Ray cluster (default: that of this machine, started if missing)")


def chosen_engine(options: Namespace) -> Engine:
    """Return the engine that the options of `add_engine_arguments` choose.

    Raises:
        InputError: As for `Engine`.
    """
    return Engine(options.engine, options.jobs, options.address)
