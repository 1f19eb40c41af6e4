"""A process of its own for one row: `python -m vaezoo.benchmark.child`, told what to do line by line.

The first line of its standard input is a job; every further one asks for a step. Each is answered by a line of JSON.
What goes wrong ends the process, with a traceback on standard error.
"""

import contextlib
import ctypes
import gc
import json
import os
import sys
import time
from typing import Any, TextIO

import torch

from vaezoo.benchmark.case import Job
from vaezoo.benchmark.meter import meter
from vaezoo.benchmark.steps import make_network, make_step, warm_libraries


def main(questions: TextIO, answers: TextIO) -> None:
    """Answer until there are no more questions."""

    def answer(**facts: Any) -> None:
        print(json.dumps(facts), file=answers, flush=True)

    job = Job(**json.loads(next(questions)))
    device = torch.device(job.device)
    network = make_network(job)
    warm_libraries(network, job)
    step = make_step(network, job)
    _trim()
    with meter(device) as before:
        pass
    params = sum(p.numel() for p in network.parameters())
    answer(before_mib=before.peak_mib, threads=torch.get_num_threads(), params=params)
    for _ in questions:
        begun = time.process_time()
        with meter(device) as reading:
            step()
        answer(seconds=reading.seconds, cpu_seconds=time.process_time() - begun, peak_mib=reading.peak_mib)


def _trim() -> None:
    """Give freed memory back to the system, or what the next steps take would seem to be there already."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else prints, prints to standard error
    main(sys.stdin, answers)
