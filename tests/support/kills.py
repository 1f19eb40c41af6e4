"""Kills: real ones in forked processes, and copies of a folder before each of its changes, as a kill leaves it."""

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from vaezoo.io import temporary

CHANGES = (
    "open.write",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.truncate",
    "os.chmod",
    "shutil.rmtree",
)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
Content = dict[str, bytes]
_listeners: list[Callable[[str], None]] = []  # audit hooks cannot be removed, so one serves all tests


def killed_at(event: int, action: Callable[[], object], events: tuple[str, ...]) -> bool:
    """Call `action` in a fork of this process and send it SIGKILL at its event of this number, from 0.

    Args:
        event: Number of the event.
        action: What to run; it cannot compute gradients if this process has done so.
        events: Beginnings of the names of the audit events that count; "open.write" is an "open" that may write.

    Returns:
        Whether it was killed; `False` if it ended before.
    """
    _, status = os.waitpid(forked(lambda: _run(event, action, events)), 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


def forked(action: Callable[[], object]) -> int:
    """Call `action` in a fork of this process, which exits with 0, or with 1 after an error; return its process id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child uses a single thread
        child = os.fork()
    if child == 0:
        torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
        try:
            action()
        except BaseException:  # noqa: BLE001 - the fork must not go on as a second test run
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def _run(event: int, action: Callable[[], object], events: tuple[str, ...]) -> None:
    seen = 0

    def count(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if name == "open" and _is_change(name, arguments):
            name = "open.write"
        if name.startswith(events):
            seen += 1
            if seen == event + 1:
                os.kill(os.getpid(), signal.SIGKILL)  # itself an event

    sys.addaudithook(count)
    action()


def rerun_after_kills(
    folder: Path,
    action: Callable[[], object],
    chosen: Callable[[list[str]], list[int]] = lambda events: list(range(len(events))),
    whole: Callable[[Path], object] = lambda folder: None,
    ignored: tuple[str, ...] = (),
) -> int:
    """Check that `action`, killed at any change of the file system and run again, ends as if it had not been killed.

    What SIGKILL leaves of a folder is what the folder holds at that moment. So `action` runs once, its folder is copied
    before each change, and it runs again in each copy, as another process would, at the same path.

    Args:
        folder: The existing folder that `action` changes; its parent gets the copies.
        action: What to run.
        chosen: Gives the numbers of the kills to check, from a description of each.
        whole: Called with the folder that a kill left.
        ignored: Names of files that may differ at the end.

    Returns:
        The number of kills that left different folders.
    """
    copies = folder.with_name("copies")
    events: list[str] = []
    with _listening(lambda event: events.append(event) or _copy(folder, copies / str(len(events) - 1))):
        action()
    expected, checked = _without(content(folder), ignored), set()
    assert not [name for name in expected if ".vaezoo-tmp" in name]
    for number in chosen(events):
        state = content(copies / str(number))
        key = frozenset((name.partition(".vaezoo-tmp")[0], data) for name, data in state.items())
        if key in checked:
            continue
        checked.add(key)
        shutil.rmtree(folder)
        (copies / str(number)).rename(folder)
        whole(folder)
        with _another_process():
            action()
        found = _without(content(folder), ignored)
        different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        assert different == [], f"killed at {number}: {events[number]}"
    shutil.rmtree(copies, ignore_errors=True)
    return len(checked)


def _copy(folder: Path, copy: Path) -> None:
    """Copy a folder; again if another thread renamed a file meanwhile, before the change of which it was copied."""
    try:
        shutil.copytree(folder, copy)
    except shutil.Error:
        shutil.rmtree(copy)
        shutil.copytree(folder, copy)


def content(folder: Path) -> Content:
    """Return the content of every file of a folder by its relative path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _without(files: Content, ignored: tuple[str, ...]) -> Content:
    return {name: data for name, data in files.items() if not name.endswith(ignored)} if ignored else files


def every_third(events: list[str]) -> list[int]:
    """Return every third event and the last: the changes between two checkpoints come again after each of them."""
    return sorted({*range(0, len(events), 3), len(events) - 1})


@contextlib.contextmanager
def _another_process() -> Iterator[None]:
    """Let temporary files of before be those of a process that was killed."""
    token = temporary._TOKEN
    temporary._TOKEN = f"{int(token, 16) ^ time.monotonic_ns() % 2**32:08x}"
    yield
    temporary._TOKEN = token


@contextlib.contextmanager
def _listening(on_change: Callable[[str], object]) -> Iterator[None]:
    """Call `on_change` with a description before each change of the file system during the block."""
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked.append(True)
    busy, one_thread = False, threading.RLock()

    def listener(event: str) -> None:
        nonlocal busy
        with one_thread:  # changes of other threads wait until the folder is copied
            if not busy:
                busy = True
                on_change(event)
                busy = False

    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


_hooked: list[bool] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _listeners and _is_change(event, arguments):
        for listener in _listeners:
            listener(f"{event} {' '.join(map(str, arguments[:2]))}")


def _is_change(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        return isinstance(arguments[0], (str, bytes, os.PathLike)) and bool(arguments[2] & WRITES)
    return event in CHANGES
