"""The one reader of photos: folders, tar files and datasets of timm."""

import io
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from vaezoo.data.photo_files import is_hidden, is_photo, photo_paths, split_folder
from vaezoo.data.timm_datasets import INDEXED, STREAMED, dataset_items, streamed_items
from vaezoo.errors import FileError, InputError
from vaezoo.io.files import opened
from vaezoo.io.images import SUFFIXES
from vaezoo.io.read_image import decode_picture, read_picture
from vaezoo.specs.catalog import sample_photos


class Photo(NamedTuple):
    """A photo that has not been read yet.

    Args:
        name: Name of the photo, unique in its source: a path relative to the folder, or `split/index`.
        read: Function that returns the decoded picture, as `vaezoo.io.read_image.read_picture` does.
        location: File or dataset item, for error messages.
    """

    name: str
    read: Callable[[], Image.Image]
    location: str = ""


def photos(source: str | Path | None, split: str | None = None, root: str | Path | None = None) -> list[Photo]:
    """List the photos of a source without reading them.

    Args:
        source: One of

            - a folder, in which `~` is the home folder: all .png, .jpg, .jpeg and .webp files in it and its subfolders,
              following links to folders;
            - an uncompressed .tar file of such files, or of further .tar files;
            - a timm dataset of known length: `hfds/org/name` (Hugging Face) or `torch/name` (torchvision);
            - `None`: the sample photos of the package.

            Hidden files and folders are passed over, in all of them (`vaezoo.data.photo_files`).
        split: Split of a dataset, "validation" by default. Of a folder, the subfolder of that name if there is one;
            by default all of the folder.
        root: Folder in which a dataset is stored; `None` means the default of its library.

    Returns:
        The photos, sorted by path; those of a dataset in its own order.

    Raises:
        FileError: If the source does not exist, cannot be opened or holds no photos.
        InputError: If the source is a streamed dataset, whose photos have no index.
    """
    if source is None:
        return photo_files(sample_photos())
    name, path = str(source), Path(os.path.expanduser(source))
    if name.startswith(STREAMED):
        raise InputError(f"{name}: streamed datasets have no index; use a dataset of {' or '.join(INDEXED)}")
    if name.startswith(INDEXED):
        return _in_dataset(name, split or "validation", root)
    if not path.exists():
        raise FileError(
            f"{path}: no such file or folder; expected a folder of photos, a .tar file or a dataset "
            f"such as {INDEXED[0]}org/name"
        )
    found = _in_tar(path) if path.suffix == ".tar" else _in_folder(split_folder(path, split))
    if not found:
        raise FileError(f"{path}: no photos in it; expected {', '.join(SUFFIXES)} files in a folder or .tar file")
    return found


def photo_files(paths: Iterable[str | Path]) -> list[Photo]:
    """List picture files as photos, named after the files."""
    return [Photo(Path(path).name, partial(read_picture, path), str(path)) for path in paths]


def photo_stream(source: str, split: str, root: str | None, seed: int) -> Iterator[Photo]:
    """Iterate over the photos of a streamed dataset of timm, again and again, without decoding them.

    Args:
        source: Name of the dataset, such as `wds/name`.
        split: Split of the dataset.
        root: Folder in which the dataset is stored; `None` means the default of its library.
        seed: Seed of the order in which its shards are read.

    Raises:
        FileError: If timm cannot open the dataset, or a pass over it gives no photo.
    """
    return (Photo(location, read, location) for location, read in streamed_items(source, root, split, seed))


def _in_folder(folder: Path) -> list[Photo]:
    return [Photo(p.as_posix(), partial(read_picture, folder / p), str(folder / p)) for p in photo_paths(folder)]


def _in_tar(path: Path) -> list[Photo]:
    try:
        with opened(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            found = sorted(_members(tar))
    except tarfile.TarError as error:
        raise FileError(f"{path}: not an uncompressed .tar file ({error}); pack the photos again") from error
    return [Photo(name, partial(_read_range, path, name, *where), f"{path}[{name}]") for name, *where in found]


def _members(tar: tarfile.TarFile, prefix: str = "", start: int = 0) -> Iterator[tuple[str, int, int]]:
    """Name, offset in the outermost file and size of every picture, also of those in nested .tar files."""
    for member in tar:
        name = prefix + member.name
        if member.isfile() and name.lower().endswith(".tar") and not is_hidden(name):
            with tarfile.open(fileobj=tar.extractfile(member), mode="r:") as inner:
                yield from _members(inner, f"{name}/", start + member.offset_data)
        elif member.isfile() and is_photo(name):
            yield name, start + member.offset_data, member.size


def _read_range(path: Path, name: str, offset: int, size: int) -> Image.Image:
    with opened(path) as file:
        file.seek(offset)
        return decode_picture(io.BytesIO(file.read(size)), f"{path}[{name}]")


def _in_dataset(name: str, split: str, root: str | Path | None) -> list[Photo]:
    items = dataset_items(name, None if root is None else str(root), split)
    return [Photo(f"{split}/{index}", read, location) for index, (location, read) in enumerate(items)]
