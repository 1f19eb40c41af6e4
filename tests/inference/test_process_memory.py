"""What the C library does with freed memory."""

import ctypes
import os
import sys

import pytest
import torch

from vaezoo.inference import process_memory
from vaezoo.inference.process_memory import free_bytes, keep_freed_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc has these settings")
NAMES = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class MallocInfo(ctypes.Structure):
    """`struct mallinfo2` of malloc.h."""

    _fields_ = [(name, ctypes.c_size_t) for name in NAMES]


def blocks_of_their_own() -> int:
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = MallocInfo
    return mallinfo2().hblks


def leave_the_heap(gib: int) -> bool:
    """Whether some of these GiB of 2 MiB blocks, more than the gaps of the heap can take, are blocks of their own."""
    before = blocks_of_their_own()
    kept = [torch.empty(2 << 20, dtype=torch.uint8) for _ in range(512 * gib)]
    return blocks_of_their_own() > before and bool(kept)


def test_large_blocks_are_kept_in_the_heap_or_not():
    child = os.fork()  # because the settings are those of a process
    if child == 0:
        ctypes.CDLL(None).mallopt(process_memory.M_MMAP_THRESHOLD, 1 << 20)  # an earlier test may have kept memory
        returned = leave_the_heap(4)
        os._exit(0 if returned and keep_freed_memory() and not leave_the_heap(1) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def write_group(folder, limit, used, cached=0):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("max", limit), ("current", used), ("stat", f"anon 7\ninactive_file {cached}")):
        (folder / f"memory.{name}").write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("path", "free"),
    [("/", 4096), ("/a", 500), ("/a/b", 300), ("/a/unlimited", 500), ("/../c", 4096), ("/gone/b", 4096)],
)
def test_free_memory_is_what_every_control_group_around_the_process_leaves(tmp_path, monkeypatch, path, free):
    write_group(tmp_path / "a", 2000, 1600, cached=100)
    write_group(tmp_path / "a" / "b", 1000, 700)
    write_group(tmp_path / "a" / "unlimited", "max", 9)
    info, own = tmp_path / "meminfo", tmp_path / "own"
    info.write_text("MemTotal: 16 kB\nMemFree: 1 kB\nMemAvailable: 4 kB\n")
    own.write_text(f"1:name=systemd:/x\n0::{path}\n")
    monkeypatch.setattr(process_memory, "MEMORY_INFO", info)
    monkeypatch.setattr(process_memory, "OWN_GROUP", own)
    monkeypatch.setattr(process_memory, "GROUPS", tmp_path)
    assert free_bytes(torch.device("cpu")) == free


@pytest.mark.parametrize("text", [None, "MemTotal: 16 kB\n"])
def test_without_figures_of_the_system_half_of_the_memory_counts_as_free(tmp_path, monkeypatch, text):
    info = tmp_path / "meminfo"
    if text:
        info.write_text(text)
    monkeypatch.setattr(process_memory, "MEMORY_INFO", info)
    monkeypatch.setattr(process_memory, "OWN_GROUP", tmp_path / "missing")
    assert free_bytes(torch.device("cpu")) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
