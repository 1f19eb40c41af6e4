"""Kinds of sources of photos, and a check of their text that needs no PyTorch and reads no photo."""

import os
from pathlib import Path

from vaezoo.errors import FileError

INDEXED = ("hfds/", "torch/")  # prefixes of timm datasets of known length, whose items have an index
STREAMED = ("hfids/", "tfds/", "wds/")  # prefixes of timm datasets that can only be iterated over


def check_source(source: str) -> None:
    """Check that a source is a dataset, a pattern, or a path that exists.

    Args:
        source: A source as for `vaezoo.data.photos.photos`.

    Raises:
        FileError: If nothing exists at the path.
    """
    if not source.startswith((*INDEXED, *STREAMED)) and not set("*?[{") & set(source):
        path = Path(os.path.expanduser(source))
        if not path.exists():
            raise missing_source(path)


def missing_source(path: Path) -> FileError:
    """Create the error for a source with nothing at its path."""
    return FileError(
        f"{path}: no such file or folder; expected a folder of photos, a .tar or .parquet file or a dataset "
        f"such as {INDEXED[0]}org/name"
    )
