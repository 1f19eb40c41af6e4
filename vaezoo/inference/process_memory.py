"""Memory of the process: how much is free, how much a pass needs, and whether freed memory is kept."""

import ctypes
import os
import sys
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
LARGEST_THRESHOLD = 2**31 - 1  # mallopt takes an int
MEMORY_INFO, OWN_GROUP, GROUPS = map(Path, ("/proc/meminfo", "/proc/self/cgroup", "/sys/fs/cgroup"))


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
    heap, trim = mallopt(M_MMAP_THRESHOLD, LARGEST_THRESHOLD), mallopt(M_TRIM_THRESHOLD, LARGEST_THRESHOLD)
    return bool(heap and trim)


def free_bytes(device: torch.device) -> int:
    """Bytes that new tensors on a device can take: on the CPU what the system and its control groups leave.

    Where the system does not tell, as under macOS, half of the physical memory counts as free.
    """
    if device.type == "cuda":
        return (
            torch.cuda.mem_get_info(device)[0]
            + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device)
        )
    if sys.platform == "win32":
        return _available_on_windows()
    limits = [limit for limit in (_available(), _control_groups()) if limit is not None]
    if limits:
        return max(min(limits), 0)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


class _MemoryStatus(ctypes.Structure):
    """`MEMORYSTATUSEX` of sysinfoapi.h."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("total", "available", "_3", "_4", "_5", "_6", "_7")),
    )


def _available_on_windows() -> int:
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined, unused-ignore]
    return int(status.available)


def _available() -> int | None:
    """Available memory by Linux's own estimate."""
    try:
        kib = _value("MemAvailable:", MEMORY_INFO)
    except OSError:
        return None
    return None if kib is None else kib * 1024


def _control_groups() -> int | None:
    """What the limits of the control group of this process and of those around it leave; `None` without a limit."""
    try:
        lines = OWN_GROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    path = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")  # of version 2
    own = Path(os.path.normpath(f"{GROUPS}{path}"))
    folders = [folder for folder in (own, *own.parents) if folder.is_relative_to(GROUPS)] or [GROUPS]
    return min((left for folder in folders if (left := _left_in(folder)) is not None), default=None)


def _left_in(folder: Path) -> int | None:
    """What the limit of a control group leaves: files in the page cache that were not used lately count as free."""
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        unused = _value("inactive_file", folder / "memory.stat") or 0
    except OSError:  # no such group, such as the outermost one
        return None
    return int(limit) - used + unused if limit.isdecimal() else None


def _value(name: str, table: Path) -> int | None:
    """The number after a name in a table of Linux; `None` if it is missing."""
    rows = (line.split() for line in table.read_text(encoding="ascii").splitlines())
    return next((int(row[1]) for row in rows if row[0] == name), None)
