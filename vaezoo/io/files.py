"""Files written whole or not at all."""

import contextlib
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from vaezoo.errors import FileError, VaezooError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; when the block ends well it becomes `path`, else it is removed.

    The temporary name keeps the suffix of `path`, so that writers which choose a format by it still do.

    Raises:
        FileError: If the folder is missing or cannot be written, or the disk is full.
    """
    path = Path(path)
    if not path.name or "\0" in str(path):
        raise FileError(f"{str(path)!r}: cannot be written; it names no file")
    temporary = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        mode = temporary.stat().st_mode  # what the umask grants; some writers make private files
        yield temporary
        temporary.chmod(mode)
        os.replace(temporary, path)
    except VaezooError:
        raise
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(folder: str | Path) -> Iterator[None]:
    """Of all processes of this machine that come here for `folder`, one at a time; where there is fcntl (not Windows).

    Raises:
        FileError: If there is no such folder.
    """
    if fcntl is None:
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise FileError(f"{folder}: cannot be opened ({error.strerror})") from error
    try:
        with contextlib.suppress(OSError):  # a network disk without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[BufferedReader]:
    """A file, open for reading.

    Raises:
        FileError: If it is missing, a folder, or cannot be read.
    """
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):
            raise FileError(f"{path}: a pipe, which could be waited on for ever; name a file")
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except VaezooError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise FileError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    with file:
        try:
            yield file
        except VaezooError:
            raise
        except OSError as error:
            raise FileError(f"{path}: cannot be read ({error.strerror or error})") from error


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits.

    Raises:
        FileError: If it cannot be read.
    """
    digest = hashlib.sha256()
    with opened(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_bytes(path: str | Path, limit: int) -> bytes:
    """The content of a file of at most `limit` bytes.

    Raises:
        FileError: If it is missing, a folder, unreadable, or larger.
    """
    with opened(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise FileError(f"{path}: larger than {limit:,} bytes; that is no file of this kind")
    return content


def make_folder(path: str | Path) -> Path:
    """`path` as an existing folder.

    Raises:
        FileError: If it is a file, or cannot be made.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"{path}: not a folder and cannot be made one ({reason})") from error
    return path


def read_json(path: Path, remedy: str) -> Any:
    """What a JSON file holds.

    Raises:
        FileError: If it cannot be read, or holds something else: then with the remedy.
    """
    with opened(path) as file:
        try:
            return json.loads(file.read())
        except ValueError as error:
            raise FileError(f"{path}: damaged ({error}); {remedy}") from error


def write_json(path: Path, data: Any) -> None:
    """Write data as JSON, as `write_text` does; a number that is none is an error of the caller."""
    write_text(path, json.dumps(data, allow_nan=False, indent=1, ensure_ascii=False) + "\n")
