"""The photos to measure on: a folder, or a dataset that timm knows by name."""

import io
import tarfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from vaezoo.errors import FileError, InputError
from vaezoo.io.files import opened
from vaezoo.io.images import SUFFIXES, decode_picture, read_picture

INDEXED = ("hfds/", "torch/")  # kinds of timm datasets whose items have an index
STREAMED = ("hfids/", "tfds/", "wds/")


class Photo(NamedTuple):
    """One photo: its name, unique in its set, and a function that reads it."""

    name: str
    read: Callable[[], Image.Image]


def photos(data: str | Path, split: str = "validation", root: str | Path | None = None) -> list[Photo]:
    """The photos of a folder and its subfolders by name, of a `.tar` file, or of a dataset of timm.

    Args:
        data: A folder, a `.tar` file, or timm's name of a dataset, such as `hfds/org/name` or `torch/cifar10`.
        split: The part of a dataset.
        root: Where a dataset is kept.

    Raises:
        FileError: If it is none of these, or holds no photos.
        InputError: If the dataset is streamed, so that its parts cannot be counted.
    """
    text, path = str(data), Path(data)
    if text.startswith(STREAMED):
        raise InputError(f"{text}: streamed, so that nobody knows which photos are counted; take {', '.join(INDEXED)}…")
    if text.startswith(INDEXED):
        return _dataset(text, split, root)
    if path.suffix == ".tar":
        return _archive(path)
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES) if path.is_dir() else []
    if not found:
        raise FileError(
            f"{path}: no folder with photos ({', '.join(SUFFIXES)}) in it, no .tar, no {', '.join(INDEXED)}…"
        )
    return [Photo(p.relative_to(path).as_posix(), partial(read_picture, p)) for p in found]


def photo_files(paths: Iterable[str | Path]) -> list[Photo]:
    """Picture files as photos, by their file names."""
    return [Photo(Path(path).name, partial(read_picture, path)) for path in paths]


def _archive(path: Path) -> list[Photo]:
    """The pictures of a `.tar` that is not compressed, so that each can be read where it lies."""
    try:
        with opened(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            members = [m for m in tar if m.isfile() and Path(m.name).suffix.lower() in SUFFIXES]
    except tarfile.TarError as error:
        raise FileError(f"{path}: no .tar without compression ({error})") from error
    if not members:
        raise FileError(f"{path}: no photos ({', '.join(SUFFIXES)}) in it")
    members.sort(key=lambda member: member.name)
    return [Photo(m.name, partial(_member, path, m.name, m.offset_data, m.size)) for m in members]


def _member(path: Path, name: str, offset: int, size: int) -> Image.Image:
    with opened(path) as file:
        file.seek(offset)
        return decode_picture(io.BytesIO(file.read(size)), f"{path}[{name}]")


def _dataset(name: str, split: str, root: str | Path | None) -> list[Photo]:
    from timm.data import create_dataset

    try:
        dataset = create_dataset(name, None if root is None else str(root), split)
    except (ImportError, OSError, RuntimeError, ValueError, AssertionError) as error:  # what its readers raise
        raise FileError(f"{name}: timm cannot open this dataset ({error or type(error).__name__})") from error
    return [Photo(f"{split}/{index}", partial(_item, dataset, name, index)) for index in range(len(dataset))]


def _item(dataset: Any, name: str, index: int) -> Image.Image:
    """One picture; not through the dataset itself where it has a reader, because it would skip a damaged one."""
    if not hasattr(dataset, "reader"):
        return dataset[index][0]
    with dataset.reader[index][0] as file:
        return decode_picture(file, f"{name}[{index}]")
