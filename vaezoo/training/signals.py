"""Signals that stop a run."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def stop_signals() -> Iterator[list[str]]:
    """Record SIGTERM and SIGINT (Ctrl-C) within the block instead of ending the process; a second Ctrl-C ends it.

    Outside the main thread, where Python allows no signal handlers, nothing is recorded.

    Yields:
        The names of the signals that have arrived so far.
    """
    names: list[str] = []

    def record(number: int, frame: object) -> None:
        if names and number == signal.SIGINT:
            raise KeyboardInterrupt
        names.append(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():
        yield names
        return
    previous = {number: signal.signal(number, record) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield names
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
