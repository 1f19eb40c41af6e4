"""The program of a process that loads a model: `python -m vaezoo.benchmark.load_child`, asked on standard input.

The only line is a JSON object with `implementation`, `folder` and `dtype` (as PyTorch names it); the answer is a line
of JSON. PyTorch and the library are imported after the question, because their import is measured.
"""

import json
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

from vaezoo.benchmark.answers import answers_alone
from vaezoo.benchmark.resident_memory import peak_mib


def main(questions: Iterator[str], answers: TextIO) -> None:
    """Load the model that a line asks for, read its weights once, and answer with the time and memory that it took.

    Args:
        questions: Lines, of which the first is read.
        answers: Where the answer goes: `seconds`, `cpu_seconds`, `before_mib`, `peak_mib` and `threads`.
    """
    question = json.loads(next(questions))
    before = peak_mib()
    start, cpu_start = time.perf_counter(), time.process_time()
    model = LOADERS[question["implementation"]](question["folder"], question["dtype"])
    for weight in model.state_dict().values():  # diffusers maps its file: without this, the first pass would read it
        weight.sum()
    answer = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu_start,
        "before_mib": before,
        "peak_mib": peak_mib(),
    }
    print(json.dumps(answer | {"threads": sys.modules["torch"].get_num_threads()}), file=answers, flush=True)


def _load_with_vaezoo(folder: str, dtype: str) -> Any:
    import torch

    from vaezoo.zoo.create import create

    return create(f"local-dir:{folder}", pretrained=True, device="cpu", dtype=getattr(torch, dtype))


def _load_with_diffusers(folder: str, dtype: str) -> Any:
    import torch
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(folder, subfolder="vae", torch_dtype=getattr(torch, dtype))


LOADERS = {"vaezoo": _load_with_vaezoo, "diffusers": _load_with_diffusers}

if __name__ == "__main__":
    main(sys.stdin, answers_alone())
