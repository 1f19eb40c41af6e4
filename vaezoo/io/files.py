"""Reads files with clear errors, and writes them atomically."""

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from vaezoo.errors import FileError, VaezooError
from vaezoo.io.temporary import sweep, temporary_name

_swept: set[str] = set()  # folders from which this process has removed what killed ones left


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Context manager for an atomic write: yields a temporary path, which replaces `path` if the block succeeds.

    If the block raises, the temporary file is removed and `path` stays as it was. The temporary name has the suffix of
    `path`, for writers that choose a format by it. The first write of this process to a folder removes what
    killed ones left there.

    Args:
        path: File to write; its folder must exist.

    Raises:
        FileError: If the folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    if not path.name or "\0" in str(path):
        raise FileError(f"{str(path)!r}: cannot be written; it names no file")
    if os.path.islink(path):  # unlike pathlib, these functions accept any text
        path = Path(os.path.realpath(path))  # the link stays, and the file that it names is replaced
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise FileError(f"{path}: cannot be written; it is a device or pipe, not a regular file")
    if (folder := os.path.abspath(path.parent)) not in _swept:
        _swept.add(folder)
        with contextlib.suppress(OSError):  # a folder whose files cannot be listed
            sweep(path.parent)
    temporary = path.with_name(temporary_name(path.suffix))
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        mode = temporary.stat().st_mode  # as the umask allows; some writers create private files
        yield temporary
        temporary.chmod(mode)
        os.replace(temporary, path)
    except VaezooError:
        raise
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically.

    Raises:
        FileError: If it cannot be written, or the text has a file name that is not UTF-8.
    """
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        near = text[max(0, error.start - 40) : error.end + 20]
        fault = f"cannot have the name in {near!a}, which is not UTF-8; rename its file or folder"
        raise FileError(f"{path}: {fault}") from error
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[BufferedReader]:
    """Context manager that opens a file for reading bytes.

    Raises:
        FileError: If the path is missing, a folder or a named pipe, or the file cannot be read.
    """
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):
            raise FileError(f"{path}: is a named pipe; expected a regular file")
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
    with opened(path) as file:
        return digest_of(file)


def digest_of(file: BinaryIO) -> str:
    """SHA-256 of the rest of an open file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def read_bytes(path: str | Path, limit: int) -> bytes:
    """Read a file of at most `limit` bytes.

    Raises:
        FileError: If the file is missing, a folder, unreadable, or larger.
    """
    with opened(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise FileError(f"{path}: larger than {limit:,} bytes, the limit for a file of this kind")
    return content


def read_part(path: str | Path, start: int, length: int | None) -> bytes:
    """Read some bytes of a file.

    Args:
        path: The file.
        start: Offset of the first byte.
        length: Number of bytes, fewer if the file ends before; `None` reads to its end.

    Raises:
        FileError: If the file cannot be read.
    """
    with opened(path) as file:
        file.seek(start)
        return file.read(length)


def make_folder(path: str | Path) -> Path:
    """Create a folder and its parents unless they exist, and return its path.

    Raises:
        FileError: If `path` is a file, or the folder cannot be created.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"{path}: is not a folder and cannot be created ({reason})") from error
    return path


def read_json(path: Path, remedy: str) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        remedy: What to do about a damaged file, which ends the message of the error.

    Raises:
        FileError: If the file cannot be read or is not valid JSON.
    """
    with opened(path) as file:
        try:
            return json.loads(file.read())
        except (ValueError, RecursionError) as error:  # RecursionError: very deep nesting
            raise FileError(f"{path}: damaged ({error}); {remedy}") from error


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a line of JSON for each row, without NaN and infinite numbers, for which it raises `ValueError`."""
    return "".join(json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n" for row in rows)


def write_json(path: Path, data: Any) -> None:
    """Write data as JSON, atomically.

    Raises:
        FileError: If the file cannot be written.
        ValueError: If the data has NaN or infinite numbers.
    """
    write_text(path, json.dumps(data, allow_nan=False, indent=1, ensure_ascii=False) + "\n")
