"""The photos that a command is given: files, folders and archives, some of which may be damaged."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from vaezoo.data.photos import Photo, photo_files, photos
from vaezoo.errors import FileError, ImageError, InputError

LISTED = 10  # bad photos that a message names


class BadPhoto(NamedTuple):
    """A photo that cannot be read.

    Args:
        image: Its file, or its place in an archive or dataset.
        reason: The error, which names it.
    """

    image: str
    reason: str


def given_photos(paths: Sequence[Path]) -> list[Photo]:
    """List the photos of several paths without reading them.

    Args:
        paths: Files, and sources as for `photos`: folders and .tar files.

    Returns:
        The photos in the order of `paths`. A file is named after itself, and one of a folder by its path in the folder.

    Raises:
        FileError: If a path does not exist, or a folder has no photos.
    """
    found: list[Photo] = []
    for path in paths:
        if not path.exists():
            raise FileError(f"{path}: no such file or folder; correct the path")
        found += photos(path) if path.is_dir() or path.suffix == ".tar" else photo_files([path])
    return found


def read_or_skip(photo: Photo, bad: list[BadPhoto] | None) -> Image.Image | None:
    """Read a photo.

    Args:
        photo: The photo.
        bad: Gets the photo if it cannot be read; `None` raises the error instead.

    Returns:
        The picture, or `None` if the photo was added to `bad`.

    Raises:
        ImageError: If the photo is damaged and `bad` is `None`.
        FileError: If its file cannot be read and `bad` is `None`.
    """
    try:
        return photo.read()
    except (ImageError, FileError) as error:
        if bad is None:
            raise
        bad.append(BadPhoto(photo.location or photo.name, str(error)))
        return None


def check_some_read(bad: Sequence[BadPhoto], total: int) -> None:
    """Raise `InputError` if none of the photos could be read."""
    if bad and len(bad) == total:
        which = "the photo" if total == 1 else f"none of the {total:,} photos"
        verb = "cannot" if total == 1 else "can"
        raise InputError(f"{which} {verb} be read: {bad[0].reason}")


def bad_text(bad: Sequence[BadPhoto], total: int) -> str:
    """Describe the photos that were left out, for the end of a command."""
    were = "was" if len(bad) == 1 else "were"
    more = [f"  and {len(bad) - LISTED:,} more"] if len(bad) > LISTED else []
    head = f"{len(bad):,} of {total:,} photos cannot be read and {were} left out (--bad refuse stops at the first):"
    return "\n".join([head, *(f"  {each.reason}" for each in bad[:LISTED]), *more])
