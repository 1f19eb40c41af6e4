"""Reports a lack of memory, of the host or of a GPU, in one way."""

import contextlib
import re
from collections.abc import Callable, Iterator

import torch

from vaezoo.errors import VaezooError

TEXTS = re.compile("out of memory|can't allocate memory|cannot allocate memory|bad_alloc", re.IGNORECASE)
AMOUNT = re.compile(r".*?allocate \d[\d.]* \w+", re.DOTALL)  # what follows is long advice


class OutOfMemoryError(VaezooError, torch.OutOfMemoryError, MemoryError):
    """There is not enough memory; what catches the errors of PyTorch or Python for this catches it, too."""


@contextlib.contextmanager
def enough_memory(work: Callable[[], str], remedy: str) -> Iterator[None]:
    """Context manager that turns the errors of Python, NumPy and PyTorch about memory into `OutOfMemoryError`.

    Args:
        work: Function that returns what the memory is for, with its size, for the message.
        remedy: What needs less memory.

    Raises:
        OutOfMemoryError: If the block runs out of memory.
    """
    try:
        yield
    except VaezooError:
        raise
    except (MemoryError, RuntimeError) as error:  # the allocator of the CPU raises plain runtime errors
        text = str(error)
        if not isinstance(error, MemoryError) and not TEXTS.search(text):
            raise
        amount = AMOUNT.match(text)
        raise OutOfMemoryError(f"{work()}: out of memory{f' ({amount[0]})' if amount else ''}; {remedy}") from error
