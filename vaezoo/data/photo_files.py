"""Which files of a folder or archive are photos: one rule for all sources."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vaezoo.errors import FileError
from vaezoo.io.images import SUFFIXES

SPLITS = (("train", "training"), ("val", "valid", "validation", "eval", "evaluation"))  # names of the same split
MOST_LINKS = 100  # ways to one folder; links among many folders would lead to it in more ways than can be listed
HIDDEN = ("@eaDir", "__MACOSX")  # folders in which a Synology disk has thumbnails and macOS has metadata


def is_hidden(path: str) -> bool:
    """Whether a path within a source has a part that begins with a dot, or is a folder of thumbnails or metadata."""
    return any(part in HIDDEN or (part.startswith(".") and part != "..") for part in PurePosixPath(path).parts)


def is_photo(path: str) -> bool:
    """Whether a path within a source names a photo: it has a suffix of `SUFFIXES` and is not hidden."""
    return PurePosixPath(path).suffix.lower() in SUFFIXES and not is_hidden(path)


def photo_paths(folder: Path) -> list[Path]:
    """List the photos of a folder and its subfolders, relative to it and sorted.

    Links to folders are followed, except to those that contain the link.

    Raises:
        FileError: If `folder` is a file, a folder cannot be read, or links lead to one in over 100 ways.
    """
    return sorted(path for path in (file.relative_to(folder) for file in _files(folder)) if is_photo(path.as_posix()))


def split_folder(folder: Path, split: str | None) -> Path:
    """Return the subfolder of a split, also by a synonym such as "val" for "validation"; the folder if it has none."""
    if split is None:
        return folder
    synonyms = next((names for names in SPLITS if split in names), ())
    return next((folder / name for name in (split, *synonyms) if (folder / name).is_dir()), folder)


def _files(folder: Path, above: tuple[str, ...] = (), ways: Counter[str] | None = None) -> Iterator[Path]:
    real, ways = os.path.realpath(folder), Counter() if ways is None else ways
    if real in above:
        return
    ways[real] += 1
    if ways[real] > MOST_LINKS:
        text = f"links lead to it in over {MOST_LINKS} ways, such as {folder}; remove links among its folders"
        raise FileError(f"{real}: {text}")
    try:
        with os.scandir(folder) as entries:
            found = [(folder / entry.name, _is_folder(entry)) for entry in entries if not is_hidden(entry.name)]
    except NotADirectoryError:
        raise FileError(f"{folder}: not a folder; name a folder of photos or a .tar file of them") from None
    except OSError as error:
        raise FileError(f"{folder}: cannot be read ({error.strerror}); change its permissions or remove it") from error
    for path, has_files in found:
        if has_files:
            yield from _files(path, (*above, real), ways)
        else:
            yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link to itself is not."""
    return os.path.isdir(entry) if entry.is_symlink() else entry.is_dir()
