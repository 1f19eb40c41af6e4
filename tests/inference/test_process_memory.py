"""What the C library does with freed memory."""

import ctypes
import os
import sys

import pytest
import torch

from vaezoo.inference.process_memory import keep_freed_memory

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
        returned = leave_the_heap(1)
        os._exit(0 if returned and keep_freed_memory() and not leave_the_heap(1) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
