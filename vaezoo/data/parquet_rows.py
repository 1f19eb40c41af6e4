"""Photos in a column of Parquet files, as data sets of the Hugging Face Hub store them."""

import bisect
import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vaezoo.errors import FileError, ImageError
from vaezoo.io.files import opened


def image_column(path: Path) -> tuple[str, int]:
    """Return the column of a Parquet file that holds pictures, and its number of rows.

    It is the one called `image`, or else the only one that holds bytes, or structures with `bytes` as `datasets` writes
    them.

    Raises:
        FileError: If pyarrow is not installed, the file is damaged, or no or several columns may be meant.
    """
    file = _parquet(str(path), _version(path))
    columns = [field.name for field in file.schema_arrow if _holds_bytes(field.type)]
    if "image" in columns:
        columns = ["image"]
    if len(columns) != 1:
        found = f"columns {', '.join(columns)} hold bytes" if columns else "no column holds bytes"
        raise FileError(f"{path}: {found}, and one is expected, or one called image; rename the column of the pictures")
    return columns[0], file.metadata.num_rows


def column_values(path: Path, names: tuple[str, ...]) -> list[Any] | None:
    """Return the values of the first of some columns that a Parquet file has; `None` if it has none.

    Raises:
        FileError: If the file cannot be read.
    """
    return _column(str(path), _version(path), names)


def read_cell(path: str, column: str, row: int) -> bytes:
    """Read the bytes of a picture; the rows that are stored together with it are kept for the next call.

    Raises:
        FileError: If the file cannot be read or has no such row.
        ImageError: If the cell holds no bytes.
    """
    version = _version(Path(path))
    starts = _group_starts(path, version)
    group = bisect.bisect_right(starts, row) - 1
    if row >= starts[-1]:
        raise FileError(f"{path}[{row}]: the file has {starts[-1]} rows; list its photos again")
    value = _group(path, version, group, column)[row - starts[group]].as_py()
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise ImageError(f"{path}[{row}]: column {column} holds no bytes there; remove the row")
    return data


def _version(path: Path) -> tuple[int, int]:
    with opened(path):  # the errors of a missing file
        found = path.stat()
    return found.st_size, found.st_mtime_ns


def _holds_bytes(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


@functools.lru_cache(maxsize=4)
def _parquet(path: str, version: tuple[int, int]) -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise FileError(f'{path}: Parquet files need pyarrow; pip install "vaezoo[parquet]"') from error
    return _reading(path, lambda: pyarrow.parquet.ParquetFile(path))


@functools.lru_cache(maxsize=4)
def _column(path: str, version: tuple[int, int], names: tuple[str, ...]) -> list[Any] | None:
    file = _parquet(path, version)
    name = next((name for name in names if name in file.schema_arrow.names), None)
    return None if name is None else _reading(path, lambda: file.read(columns=[name]).column(name).to_pylist())


@functools.lru_cache(maxsize=4)
def _group_starts(path: str, version: tuple[int, int]) -> list[int]:
    return [0, *itertools.accumulate(_group_sizes(_parquet(path, version)))]


def _group_sizes(file: Any) -> Iterator[int]:
    return (file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups))


@functools.lru_cache(maxsize=2)
def _group(path: str, version: tuple[int, int], group: int, column: str) -> Any:
    file = _parquet(path, version)
    return _reading(path, lambda: file.read_row_group(group, columns=[column]).column(column))


def _reading(path: object, read: Any) -> Any:
    import pyarrow

    try:
        return read()
    except (pyarrow.ArrowException, OSError) as error:
        raise FileError(f"{path}: damaged or not a Parquet file ({error}); copy or download it again") from error
