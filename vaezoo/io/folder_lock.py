"""Locks among the processes of this machine: on a folder, a piece of work in it, or the replacement of its files.

`folder_lock` needs a file, since Windows and network disks have no locks on folders; the file stays, because a process
may have opened it to wait, and would then hold the lock of a removed file. `write_lock` locks the folder itself, as
published folders have no other files, and a training publishes to the folder whose `folder_lock` it holds.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import filelock

from vaezoo.errors import FileError
from vaezoo.io.files import make_folder

if sys.platform != "win32":
    import fcntl

LOCK = "lock"


@contextlib.contextmanager
def folder_lock(folder: Path, timeout: float = 0) -> Iterator[bool]:
    """Hold the lock of a folder during the block, so that one process at a time works in it.

    The operating system releases the lock when its process ends, even if it is killed.

    Args:
        folder: The folder; it is created if it is missing.
        timeout: Seconds to wait for the lock.

    Yields:
        Whether the lock was acquired; `False` if another process holds it.

    Raises:
        FileError: If the folder or the lock file cannot be created.
    """
    with file_lock(make_folder(folder) / LOCK, timeout) as acquired:
        yield acquired


@contextlib.contextmanager
def file_lock(path: Path, timeout: float = 0) -> Iterator[bool]:
    """Hold a lock file during the block, as `folder_lock` does; the file stays.

    Args:
        path: The lock file, in an existing folder.
        timeout: Seconds to wait for the lock; -1 waits until it is free.

    Yields:
        Whether the lock was acquired; `False` if another process holds it.

    Raises:
        FileError: If the lock file cannot be created.
    """
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=timeout)
    except filelock.Timeout:
        yield False
        return
    except (OSError, NotImplementedError) as error:
        raise FileError(f"{path}: cannot be locked ({error}); use a folder on a local disk") from error
    try:
        yield True
    finally:
        lock.release()


@contextlib.contextmanager
def write_lock(folder: str | Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder while its files are replaced, without leaving a lock file in it.

    It waits until the lock is free. There is no lock on Windows, nor on file systems that do not support it.

    Raises:
        FileError: If the folder does not exist.
    """
    if sys.platform == "win32":
        yield
    else:
        try:
            handle = os.open(folder, os.O_RDONLY)
        except OSError as error:
            raise FileError(f"{folder}: cannot be opened ({error.strerror})") from error
        try:
            with contextlib.suppress(OSError):  # a network file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
