"""Time and peak memory of a piece of work."""

import contextlib
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch


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
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:  # no procfs: the high-water mark since the process began, in bytes on macOS
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 2**10
