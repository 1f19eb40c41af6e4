"""Datasets of timm. Their files are taken undecoded, so that all photos go through `vaezoo.io.read_image`."""

import functools
import io
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from vaezoo.data.photo_files import is_hidden, photo_paths, split_folder
from vaezoo.errors import FileError, ImageError, InputError
from vaezoo.io.pixels import to_plain_mode
from vaezoo.io.read_image import decode_picture, read_picture

LABELED = ("torch/image_folder", "torch/folder")  # a folder for each label
WDS_KEYS = ("jpg", "jpeg", "png", "webp")  # of the picture in a sample of a WebDataset
Item = tuple[str, Callable[[], Image.Image]]  # location for error messages, and a function that returns the picture


def open_dataset(name: str, root: str | None, split: str, **options: Any) -> Any:
    """Open a dataset by `timm.data.create_dataset`.

    Raises:
        FileError: If timm cannot open it.
    """
    from timm.data import create_dataset

    try:
        return create_dataset(name, root and os.path.expanduser(root), split, **options)
    except _open_errors() as error:
        raise FileError(f"{name}: {_reason(error, name)}") from error


def dataset_items(name: str, root: str | None, split: str) -> list[Item]:
    """List the items of a dataset of known length without reading them.

    Raises:
        FileError: If timm cannot open the dataset.
    """
    if name.lower() in LABELED:
        return _labeled_items(name, root, split)
    dataset = open_dataset(name, root, split)
    if hasattr(dataset, "reader"):
        read = partial(_read_hugging_face, dataset.reader)
    else:
        read = partial(_read_torchvision, dataset)
        if hasattr(dataset, "loader"):  # of the datasets that open files; others, such as CIFAR, are arrays
            dataset.loader = read_picture
    locations = [f"{name}[{index}]" for index in range(len(dataset))]
    return [(location, partial(read, index, location)) for index, location in enumerate(locations)]


@functools.lru_cache(maxsize=4)
def dataset_column(name: str, root: str | None, split: str, columns: tuple[str, ...]) -> list[Any] | None:
    """Return the values of the first of some columns that a dataset of known length has; `None` if it has none.

    Datasets of torchvision have labels only, as `targets` or `labels`.

    Raises:
        FileError: If timm cannot open the dataset.
    """
    if name.lower() in LABELED:
        folder = split_folder(Path(os.path.expanduser(root or "")), split)
        return [Path(location).relative_to(folder).parts[0] for location, _ in _labeled_items(name, root, split)]
    dataset = open_dataset(name, root, split)
    if hasattr(dataset, "reader"):
        found = dataset.reader.dataset
        column = next((column for column in columns if column in found.column_names), None)
        return None if column is None else list(found[column])
    values = next((getattr(dataset, key) for key in ("targets", "labels") if hasattr(dataset, key)), None)
    return None if values is None or "label" not in columns else [int(value) for value in values]


def _labeled_items(name: str, root: str | None, split: str) -> list[Item]:
    """List the photos in a folder of labels, in the order of torchvision but by the rule of `photo_files`."""
    place = Path(os.path.expanduser(root or ""))
    if not root or not place.is_dir():
        raise FileError(f"{name}: its root ({root}) is not a folder; set it to one that has a folder for each label")
    folder = split_folder(place, split)
    paths = sorted(photo_paths(folder), key=lambda path: (path.parts[0], str(path.parent), path.name))
    if not paths:
        raise FileError(f"{name}: no photos in {folder}; choose another root or split")
    return [(str(folder / path), partial(read_picture, folder / path)) for path in paths]


def streamed_items(name: str, root: str | None, split: str, seed: int) -> Iterator[Item]:
    """Iterate over the pictures of a streamed dataset, again and again, each worker over its part.

    Args:
        name: Name of the dataset, such as `wds/name`.
        root: Folder in which the dataset is stored; `None` means the default of its library.
        split: Split of the dataset.
        seed: Seed of the order in which its shards are read.

    Raises:
        FileError: If timm cannot open the dataset, or a pass over it gives no picture.
    """
    prefix = name[: name.index("/") + 1].lower()
    # Passes end with the data here, not after a number of samples, which timm would need to know.
    options = {} if prefix == "tfds/" else {"num_samples": 1}
    reader, open_errors = open_dataset(name, root, split, is_training=True, seed=seed, **options).reader, _open_errors()
    try:
        samples = STREAMS[prefix](reader)
        while True:
            count = 0
            for key, data in samples():
                count += 1
                location = f"{name}[{key}]"
                yield location, partial(_decode, data, location)
            if not count:
                raise FileError(f"{name}: {_empty(reader, split)}")
    except open_errors as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{name}: cannot be read on ({error}); check its files") from error


def _web_dataset(reader: Any) -> Callable[[], Iterator[tuple[str, Any]]]:
    """Run timm's pipeline up to its last two stages, which decode pictures and demand labels."""
    from webdataset import DataPipeline

    reader._lazy_init()
    pipeline = DataPipeline(*reader.ds.pipeline[:-2])

    def samples() -> Iterator[tuple[str, Any]]:
        for sample in pipeline:
            key = next((key for key in WDS_KEYS if key in sample), None)
            if key is not None and not is_hidden(sample["__key__"]):  # a shard may hold texts without a picture
                yield f"{sample['__key__']}.{key}", sample[key]

    return samples


def _hugging_face_stream(reader: Any) -> Callable[[], Iterator[tuple[str, Any]]]:
    import datasets

    reader._lazy_init()
    undecoded = reader.ds.cast_column(reader.input_key, datasets.Image(decode=False))
    undecoded.set_epoch(reader.epoch.value)
    return lambda: ((str(index), sample[reader.input_key]) for index, sample in enumerate(undecoded))


def _tensorflow_stream(reader: Any) -> Callable[[], Iterator[tuple[str, Any]]]:
    import tensorflow_datasets as tfds

    reader._input_decoders = lambda: {reader.input_key: tfds.decode.SkipDecoding()}
    reader._lazy_init()
    return lambda: ((str(index), sample[reader.input_key]) for index, sample in enumerate(reader.ds))


STREAMS = {"wds/": _web_dataset, "hfids/": _hugging_face_stream, "tfds/": _tensorflow_stream}


def _read_hugging_face(reader: Any, index: int, location: str) -> Image.Image:
    """Read around timm's dataset, which replaces a damaged picture, and its reader, which demands labels."""
    return _decode(reader.dataset[index][reader.image_key], location)


def _read_torchvision(dataset: Any, index: int, location: str) -> Image.Image:
    try:
        return to_plain_mode(dataset[index][0])
    except (InputError, FileError):
        raise
    except (OSError, Image.DecompressionBombError) as error:
        raise FileError(f"{location}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _decode(data: Any, location: str) -> Image.Image:
    """Decode the bytes of a picture, or the mapping of `bytes` and `path` that stands for one in `datasets`."""
    if isinstance(data, dict):
        data, path = data.get("bytes"), data.get("path")
        if not data and path and "://" in path:
            from datasets.utils.file_utils import xopen

            with xopen(path, "rb") as file:
                data = file.read()
        elif not data and path:
            return read_picture(path)
    if not isinstance(data, bytes):
        raise ImageError(f"{location}: the item holds no picture; remove it from the dataset")
    return decode_picture(io.BytesIO(data), location)


def _reason(error: BaseException, name: str) -> str:
    if isinstance(error, KeyError) and name.lower().startswith("wds/"):
        return (
            f"its _info.json lacks {error}; each of its splits takes name, filenames, shard_lengths and num_samples; "
            "complete it, or remove the file and name the shards as the split, in quotes, such as "
            "--set 'data.split=\"{00000..00009}.tar\"'"
        )
    remedy = "install the package that reads it" if isinstance(error, ImportError) else "check its name and root"
    shown = isinstance(error, LookupError | TypeError | AttributeError)
    text = f"{type(error).__name__} {error}" if shown else str(error)
    return f"timm cannot open this dataset ({text or type(error).__name__}); {remedy}"


def _empty(reader: Any, split: str) -> str:
    shards = len(getattr(getattr(reader, "split_info", None), "filenames", ()))
    if 0 < shards < reader.global_num_workers:
        return (
            f"{shards} shards in split {split} for {reader.global_num_workers} loading processes, one of which gets "
            f"none; set data.workers so that all ranks together have at most {shards}"
        )
    return f"no photos in split {split}; choose another split, or check that its files exist and hold pictures"


def _open_errors() -> tuple[type[Exception], ...]:
    """What timm and the libraries below it raise for a wrong name or root, broken metadata or an unreachable server."""
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # the HTTP client that huggingface_hub uses

    malformed = (LookupError, TypeError, AttributeError, AssertionError)  # metadata that is used without a check
    kinds = (ImportError, OSError, RuntimeError, ValueError, *malformed, httpx.HTTPError)
    datasets = sys.modules.get("datasets.exceptions")
    return (*kinds, datasets.DatasetsError) if datasets else kinds
