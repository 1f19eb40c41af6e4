"""The one reader of photos: folders, tar files, Parquet files and datasets of timm."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from vaezoo.data.parquet_rows import column_values, image_column
from vaezoo.data.photo_files import is_hidden, is_photo, photo_paths, split_folder
from vaezoo.data.photo_place import PhotoPlace
from vaezoo.data.photo_source import INDEXED, STREAMED, missing_source
from vaezoo.data.tar_members import TEXTS, TarMember, matching_paths, tar_members
from vaezoo.data.timm_datasets import dataset_column, dataset_items, streamed_items
from vaezoo.errors import FileError, InputError
from vaezoo.io.files import opened
from vaezoo.io.images import SUFFIXES
from vaezoo.io.read_image import read_picture
from vaezoo.specs.catalog import sample_photos

# Columns that have the text of a .txt or .cls file, and keys of a .json file that have that of a .txt, by preference.
COLUMNS = {".txt": ("caption", "text", "prompt"), ".cls": ("label", "class", "cls")}


class Photo(NamedTuple):
    """A photo that has not been read yet.

    Args:
        name: Name of the photo, unique in its source: a path relative to the folder, or `split/index`.
        read: Function that returns the decoded picture, as `vaezoo.io.read_image.read_picture` does.
        location: File or dataset item, for error messages.
        place: Where its bytes are; `None` for a photo of a stream.
        size: Bytes, where a .tar file lists them.
        mtime: Time of its last change in seconds since 1970, where a .tar file lists it, or of its Parquet file.
        beside: Function that returns the text beside it by suffix, ".txt", ".json" or ".cls"; `None` if there is none.
    """

    name: str
    read: Callable[[], Image.Image]
    location: str = ""
    place: PhotoPlace | None = None
    size: int | None = None
    mtime: float | None = None
    beside: Callable[[str], bytes | None] = lambda suffix: None

    def stat(self) -> tuple[int | None, float | None]:
        """Return size in bytes and time of the last change in seconds since 1970; `None` for what is not known.

        Raises:
            FileError: If its file is missing.
        """
        if self.place is None or self.place.start is not None:
            return self.size, self.mtime
        try:
            found = os.stat(self.place.path)
        except OSError as error:
            raise FileError(f"{self.location}: cannot be read ({error.strerror})") from error
        return found.st_size, found.st_mtime


def photos(source: str | Path | None, split: str | None = None, root: str | Path | None = None) -> list[Photo]:
    """List the photos of a source without reading them.

    Args:
        source: One of

            - a folder, in which `~` is the home folder: all .png, .jpg, .jpeg and .webp files in it and its subfolders,
              following links to folders;
            - an uncompressed .tar file of such files, or of further .tar files;
            - .tar files, such as the shards of a WebDataset: a folder that has them and no photos, or a pattern such as
              `shards/{00000..00009}.tar` or `shards/*.tar`;
            - a .parquet file with a column of pictures, or a folder or a pattern of them;
            - a timm dataset of known length: `hfds/org/name` (Hugging Face) or `torch/name` (torchvision);
            - `None`: the sample photos of the package.

            Hidden files and folders are passed over, in all of them (`vaezoo.data.photo_files`).
        split: Split of a dataset, "validation" by default. Of a folder, the subfolder of that name if there is one;
            by default all of the folder.
        root: Folder in which a dataset is stored; `None` means the default of its library.

    Returns:
        The photos, sorted by path, those of several .tar files one file after the other; those of Parquet files and
        datasets in their own order.

    Raises:
        FileError: If the source does not exist, cannot be opened or holds no photos, or pyarrow is missing.
        InputError: If the source is a streamed dataset, whose photos have no index.
    """
    if source is None:
        return photo_files(sample_photos())
    name, path = str(source), Path(os.path.expanduser(source))
    if name.startswith(STREAMED):
        raise InputError(f"{name}: streamed datasets have no index; use a dataset of {' or '.join(INDEXED)}")
    if name.startswith(INDEXED):
        return _in_dataset(name, split or "validation", root)
    paths = [path] if path.exists() else matching_paths(str(path))
    if not paths:
        raise missing_source(path)
    found = [photo for path in paths for photo in _in_path(path, split)]
    if not found:
        raise FileError(
            f"{path}: no photos in it; expected {', '.join(SUFFIXES)} files in a folder or .tar file, or Parquet files"
        )
    return found


def photo_files(paths: Iterable[str | Path]) -> list[Photo]:
    """List picture files as photos, named after the files."""
    return [_file(Path(path), Path(path).name) for path in paths]


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


def _in_path(path: Path, split: str | None) -> list[Photo]:
    if path.suffix == ".tar":
        return _in_tar(path)
    if path.suffix == ".parquet":
        return _in_parquet(path, path.name)
    folder = split_folder(path, split)
    if found := [_file(folder / each, each.as_posix()) for each in photo_paths(folder)]:
        return found
    if tars := sorted(folder.glob("*.tar")):
        return [photo for tar in tars for photo in _in_tar(tar)]
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.parquet"))
    return [photo for name in names if not is_hidden(name) for photo in _in_parquet(folder / name, name)]


def _file(path: Path, name: str) -> Photo:
    place = PhotoPlace(str(path), str(path))
    return Photo(name, partial(read_picture, path), str(path), place, beside=partial(_beside_file, path))


def _beside_file(path: Path, suffix: str) -> bytes | None:
    beside = path.with_suffix(suffix)
    if not beside.is_file():
        return None
    with opened(beside) as file:
        return file.read()


def _in_tar(path: Path) -> list[Photo]:
    members = tar_members(path, (*SUFFIXES, *TEXTS))
    texts = {member.name: member for member in members if not is_photo(member.name)}
    return [_member(member, texts) for member in members if is_photo(member.name)]


def _member(member: TarMember, texts: dict[str, TarMember]) -> Photo:
    location = f"{member.tar}[{member.name}]"
    place = PhotoPlace(str(member.tar), location, member.start, member.length)
    beside = partial(_beside_member, member.stem, texts)
    return Photo(member.name, place.picture, location, place, member.length, member.mtime, beside)


def _beside_member(stem: str, texts: dict[str, TarMember], suffix: str) -> bytes | None:
    text = texts.get(stem + suffix)
    return None if text is None else text.read()


def _in_parquet(path: Path, name: str) -> list[Photo]:
    column, rows = image_column(path)
    mtime = path.stat().st_mtime
    found = []
    for row in range(rows):
        place = PhotoPlace(str(path), f"{path}[{row}]", row, column=column)
        beside = partial(_beside_cell, path, row)
        found.append(Photo(f"{name}/{row}", place.picture, place.location, place, mtime=mtime, beside=beside))
    return found


def _beside_cell(path: Path, row: int, suffix: str) -> bytes | None:
    if suffix not in COLUMNS:
        return None
    return _cell_text(column_values(path, COLUMNS[suffix]), row, suffix, f"{path}[{row}]")


def _cell_text(values: Sequence[Any] | None, row: int, suffix: str, location: str) -> bytes | None:
    """The value of a row as a file beside a photo would hold it: NaN is a missing value, and 3.0 is written as 3."""
    value = None if values is None else values[row]
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # as pandas stores whole numbers in a column where some are missing
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str | int):
        text = f"column {' or '.join(COLUMNS[suffix])} holds {value!r:.40}, and not text or a whole number"
        raise FileError(f"{location}: {text}; convert it, or drop the column")
    return str(value).encode()


def _in_dataset(name: str, split: str, root: str | Path | None) -> list[Photo]:
    folder = None if root is None else str(root)

    def photo(index: int, location: str, read: Callable[[], Image.Image]) -> Photo:
        place = PhotoPlace(name, location, index, split=split, root=folder)
        return Photo(f"{split}/{index}", read, location, place, beside=partial(_beside_item, place))

    return [photo(index, *item) for index, item in enumerate(dataset_items(name, folder, split))]


def _beside_item(place: PhotoPlace, suffix: str) -> bytes | None:
    if suffix not in COLUMNS or place.split is None or place.start is None:
        return None
    values = dataset_column(place.path, place.root, place.split, COLUMNS[suffix])
    return _cell_text(values, place.start, suffix, place.location)
