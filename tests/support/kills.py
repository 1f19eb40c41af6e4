"""Running a function in a forked process that is killed at one of its audit events."""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable

import torch

FILE_SYSTEM = ("open", "os.", "shutil.", "tempfile.", "fcntl.")


def killed_at(event: int, action: Callable[[], object], events: tuple[str, ...]) -> bool:
    """Call `action` in a fork of this process and send it SIGKILL at its event of this number, from 0.

    Args:
        event: Number of the event.
        action: What to run.
        events: Beginnings of the names of the audit events that count.

    Returns:
        Whether it was killed; `False` if it ended before.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child uses a single thread
        child = os.fork()
    if child == 0:
        _run(event, action, events)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


def _run(event: int, action: Callable[[], object], events: tuple[str, ...]) -> None:
    torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
    seen = 0

    def count(name: str, _arguments: object) -> None:
        nonlocal seen
        if name.startswith(events):
            seen += 1
            if seen == event + 1:
                os.kill(os.getpid(), signal.SIGKILL)  # itself an event

    sys.addaudithook(count)
    try:
        action()
    except BaseException:  # noqa: BLE001 - the fork must not go on as a second test run
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
