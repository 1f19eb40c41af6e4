"""The program of a benchmark process: `python -m vaezoo.benchmark.child`, controlled by lines on standard input.

The first line is a benchmark case as JSON; every further line asks for one step. Each line is answered by a line of
JSON. An error ends the process with a traceback on standard error.
"""

import contextlib
import ctypes
import gc
import json
import sys
import time
from typing import Any, TextIO

import torch

from vaezoo.benchmark.answers import answers_alone
from vaezoo.benchmark.case import BenchmarkCase
from vaezoo.benchmark.matrix_peak import matmul_gmacs
from vaezoo.benchmark.steps import make_network, make_step, warm_libraries
from vaezoo.benchmark.timing import meter
from vaezoo.nn.dtypes import DTYPES


def main(questions: TextIO, answers: TextIO) -> None:
    """Answer questions until there are no more.

    Args:
        questions: Lines of questions.
        answers: Where the lines of answers go: first `before_mib`, `threads`, `params` and `matmul_gmacs`, then
            `seconds`, `cpu_seconds` and `peak_mib` of each step.
    """

    def answer(**facts: Any) -> None:
        print(json.dumps(facts), file=answers, flush=True)

    case = BenchmarkCase(**json.loads(next(questions)))
    device = torch.device(case.device)
    peak = matmul_gmacs(device, DTYPES[case.dtype])
    network = make_network(case)
    warm_libraries(network, case)
    step = make_step(network, case)
    _trim_heap()
    with meter(device) as before:
        pass
    params = sum(p.numel() for p in network.parameters())
    answer(before_mib=before.peak_mib, threads=torch.get_num_threads(), params=params, matmul_gmacs=peak)
    for _ in questions:
        start = time.process_time()
        with meter(device) as usage:
            step()
        answer(seconds=usage.seconds, cpu_seconds=time.process_time() - start, peak_mib=usage.peak_mib)


def _trim_heap() -> None:
    """Return freed memory to the system; steps could reuse it otherwise, and the process would grow less."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):  # only glibc has malloc_trim
        ctypes.CDLL(None).malloc_trim(0)


if __name__ == "__main__":
    main(sys.stdin, answers_alone())
