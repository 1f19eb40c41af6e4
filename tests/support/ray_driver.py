"""Run jobs that execute code on a Ray cluster, two at a time: `python -m support.ray_driver ADDRESS FOLDER`.

The folder has a file `NAME.py` for each job, and gets `NAME.txt`, its output.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from vaezoo.jobs.engine import Engine
from vaezoo.jobs.job import Job


def main(arguments: Sequence[str]) -> None:
    """Run the jobs, and print the exit status of each and the signal that stopped them."""
    address, folder = arguments[0], Path(arguments[1])
    scripts = sorted(folder.glob("*.py"))
    jobs = [Job(each.stem, "support.run_code", [each.read_text()], each.with_suffix(".txt")) for each in scripts]
    engine = Engine("ray", jobs=2, address=address)
    stopped = engine.run(jobs, lambda job, status, seconds: print("exit", job.name, status, flush=True))
    print("stopped by", stopped)


if __name__ == "__main__":
    main(sys.argv[1:])
