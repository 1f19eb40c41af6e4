"""Resident memory of this process; imports nothing heavy, so that imports can be measured, too."""

import contextlib
import math
import sys
from pathlib import Path

if sys.platform != "win32":
    import resource


def reset_peak() -> None:
    """Lower the peak resident memory of this process to its current value, which only Linux supports."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mib() -> float:
    """Peak resident memory of this process in MiB; NaN under Windows."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="utf-8") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    if sys.platform == "win32":
        return math.nan
    # not Linux, or a sandbox: the peak since the process started, in bytes on macOS and KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
