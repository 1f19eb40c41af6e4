"""Wall time and peak memory of a block of code."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from vaezoo.benchmark.resident_memory import peak_mib, reset_peak


@dataclass
class Usage:
    """Wall time in seconds, and peak memory in MiB: of the GPU's allocator, or on the CPU of the whole process."""

    seconds: float = 0.0
    peak_mib: float = 0.0


@contextlib.contextmanager
def meter(device: torch.device) -> Iterator[Usage]:
    """Measure the time and peak memory of a block.

    Args:
        device: Device that the block computes on.

    Yields:
        A `Usage` that is filled in when the block ends. Peak memory is NaN on the CPU under Windows.
    """
    usage, cuda = Usage(), device.type == "cuda"
    if cuda:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    else:
        reset_peak()
    start = time.perf_counter()
    yield usage
    if cuda:
        torch.cuda.synchronize(device)
    usage.seconds = time.perf_counter() - start
    usage.peak_mib = torch.cuda.max_memory_allocated(device) / 2**20 if cuda else peak_mib()
