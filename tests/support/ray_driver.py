"""Run jobs that execute code on a Ray cluster, two at a time: `python -m support.ray_driver ADDRESS FOLDER`.

The folder has a file `NAME.py` for each job, and gets `NAME.txt`, its output.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from vaezoo.jobs import ray_cluster
from vaezoo.jobs.job import Job


def main(arguments: Sequence[str]) -> None:
    """Run the jobs, and print the exit status of each and the signal that stopped them."""
    address, folder = arguments[0], Path(arguments[1])
    scripts = sorted(folder.glob("*.py"))
    jobs = [Job(each.stem, "support.run_code", [each.read_text()], each.with_suffix(".txt")) for each in scripts]

    def on_exit(job: Job, status: int, seconds: float) -> None:
        print("exit", job.name, status, flush=True)

    stopped = ray_cluster.run_jobs(jobs, 2, on_exit, address)
    print("stopped by", stopped)


if __name__ == "__main__":
    main(sys.argv[1:])
