"""Temporary files and folders, by whose names those that a killed process left behind are recognized and removed."""

import contextlib
import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from vaezoo.errors import CheckpointError, FileError

_TOKEN = secrets.token_hex(4)  # of this process: its id may have been that of a dead one, always so in a container
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
_NAME = re.compile(r"\.vaezoo-tmp-(\d+)-([0-9a-f]{8})-([0-9a-f]{8})-[0-9a-f]{8}(\..*)?", re.DOTALL)


def temporary_name(suffix: str = "") -> str:
    """Return a new name for a temporary file or folder, which `sweep` recognizes once this process has ended.

    Args:
        suffix: End of the name, such as ".png"; empty or beginning with a dot.
    """
    return f".vaezoo-tmp-{os.getpid()}-{_TOKEN}-{_HOST}-{secrets.token_hex(4)}{suffix}"


def is_temporary_name(name: str) -> bool:
    """Whether `temporary_name` gave this name, in this process or another one."""
    return _NAME.fullmatch(name) is not None


@contextlib.contextmanager
def folder_beside(folder: Path) -> Iterator[Path]:
    """Context manager that gives a temporary folder in `folder`, for files that are then moved there.

    Errors that name a file of it name the same file of `folder` instead.

    Raises:
        FileError: If it cannot be created.
    """
    temporary = folder / temporary_name()
    try:
        with _folder(temporary):
            yield temporary
    except (FileError, CheckpointError) as error:
        raise type(error)(str(error).replace(str(temporary), str(folder))) from error


@contextlib.contextmanager
def becoming_folder(folder: Path) -> Iterator[Path]:
    """Context manager that gives a temporary folder, which becomes `folder` at the end of the block.

    Raises:
        FileError: If `folder` is not empty or is a file, or cannot be created.
    """
    folder = Path(os.path.abspath(folder))
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileError(f"{folder}: exists and is not an empty folder; name a new one")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{folder}: cannot be created ({error.strerror})") from error
    sweep(folder.parent)
    temporary = folder.with_name(temporary_name())
    try:
        with _folder(temporary, 0o777):
            yield temporary
            if sys.platform == "win32" and folder.is_dir():
                folder.rmdir()
            os.replace(temporary, folder)
    except FileError as error:
        raise FileError(str(error).replace(str(temporary), str(folder))) from error
    except OSError as error:
        raise FileError(f"{folder}: cannot be written ({error.strerror or error})") from error


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Context manager that gives a temporary folder in the system's, for files that nobody keeps.

    Raises:
        FileError: If it cannot be created.
    """
    remedy = "set TMPDIR to a folder with free space"
    try:
        system = Path(tempfile.gettempdir())
    except OSError as error:
        raise FileError(f"no folder for temporary files ({error.strerror}); {remedy}") from error
    sweep(system)
    temporary = system / temporary_name()
    try:
        with _folder(temporary):
            yield temporary
    except FileError as error:
        if not str(error).startswith(str(temporary)):
            raise
        raise FileError(f"{error}; it is a temporary file: {remedy}") from error


@contextlib.contextmanager
def _folder(path: Path, mode: int = 0o700) -> Iterator[None]:
    """Create a folder, and remove it at the end of the block."""
    try:
        path.mkdir(mode=mode)
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)


def sweep(folder: Path, owned: bool = False) -> None:
    """Remove the temporary files and folders in `folder` whose processes have ended.

    On Windows those of this machine are kept, because the standard library cannot look up a process by its id.

    Args:
        folder: The folder; it may be missing.
        owned: Whether this process holds the lock of the folder; then those of other machines are removed too.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match and (owned if match[3] != _HOST else not _is_running(int(match[1]), match[2])):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):  # of another user
                    path.unlink()


def _is_running(process: int, token: str) -> bool:
    if process == os.getpid():
        return token == _TOKEN
    if sys.platform == "win32":  # os.kill would end the process
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # a process of another user
        return True
    return True
