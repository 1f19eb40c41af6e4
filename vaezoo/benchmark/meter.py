"""Time and peak memory of a piece of work."""

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

try:
    import resource
except ImportError:  # Windows has none, and tells no peak
    resource = None


@dataclass
class Reading:
    """Seconds of wall time and peak memory in MiB: of the GPU for work there, else of the whole process."""

    seconds: float = 0.0
    peak_mib: float = 0.0


@contextlib.contextmanager
def meter(device: torch.device) -> Iterator[Reading]:
    """Measure the block; the reading is filled in when it ends."""
    reading, cuda = Reading(), device.type == "cuda"
    if cuda:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    else:
        _reset_peak()
    start = time.perf_counter()
    yield reading
    if cuda:
        torch.cuda.synchronize(device)
    reading.seconds = time.perf_counter() - start
    reading.peak_mib = torch.cuda.max_memory_allocated(device) / 2**20 if cuda else _peak_mib()


def _reset_peak() -> None:
    """Set the process's high-water mark to what it holds now; only Linux can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mib() -> float:
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="utf-8") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    if resource is None:
        return math.nan
    # not Linux, or a sandbox: the high-water mark since the process began, in bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
