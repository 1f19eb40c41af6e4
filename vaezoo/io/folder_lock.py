"""Lock a folder or a piece of work in it, so that one process of this machine at a time works in it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock

from vaezoo.errors import FileError
from vaezoo.io.files import make_folder

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
