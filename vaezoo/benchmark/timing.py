"""Wall time and peak memory of a block of code."""

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

if sys.platform != "win32":
    import resource


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
        _reset_peak()
    start = time.perf_counter()
    yield usage
    if cuda:
        torch.cuda.synchronize(device)
    usage.seconds = time.perf_counter() - start
    usage.peak_mib = torch.cuda.max_memory_allocated(device) / 2**20 if cuda else _peak_mib()


def _reset_peak() -> None:
    """Lower the peak resident memory of this process to its current value, which only Linux supports."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mib() -> float:
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="utf-8") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    if sys.platform == "win32":
        return math.nan
    # not Linux, or a sandbox: the peak since the process started, in bytes on macOS and KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
