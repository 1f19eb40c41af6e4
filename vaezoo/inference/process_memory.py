"""Memory of the process: how much is free, how much a pass needs, and whether freed memory is kept."""

import ctypes
import os
import sys
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
LARGEST_THRESHOLD = 2**31 - 1  # mallopt takes an int


def keep_freed_memory() -> bool:
    """Let the C library keep the memory of large freed tensors for the next ones of this process.

    glibc returns every block of more than 32 MiB to the kernel as soon as it is freed, and the kernel clears it page by
    page when it is allocated again, which can take a third of the time of a pass on the CPU. The process then keeps the
    memory of its largest pass until it ends.

    Returns:
        Whether it had an effect; other C libraries than glibc have no such setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_THRESHOLD) and mallopt(M_TRIM_THRESHOLD, LARGEST_THRESHOLD))


def free_bytes(device: torch.device) -> int:
    """Bytes that new tensors on a device can take: on the CPU what the system and its control group leave.

    Where the system does not tell, half of the physical memory counts as free.
    """
    if device.type == "cuda":
        return (
            torch.cuda.mem_get_info(device)[0]
            + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device)
        )
    limits = [limit for limit in (_available(), _control_group()) if limit is not None]
    if limits:
        return max(min(limits), 0)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _available() -> int | None:
    """Available memory by Linux's own estimate."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _control_group() -> int | None:
    """What the limit of a container leaves; `None` without a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = ((folder / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return None
    return int(limit) - int(used) if limit.isdecimal() else None
