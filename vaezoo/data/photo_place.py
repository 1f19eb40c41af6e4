"""Where the bytes of a photo are, as plain data from which another process can read them."""

import contextlib
import functools
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from PIL import Image

from vaezoo.data.parquet_rows import read_cell
from vaezoo.data.timm_datasets import Item, dataset_items
from vaezoo.errors import ImageError
from vaezoo.io.files import digest_of, opened, read_part
from vaezoo.io.read_image import decode_picture, picture_size


@dataclass(frozen=True)
class PhotoPlace:
    """A file, a part of a .tar file, a cell of a Parquet file, or an item of a dataset of timm.

    Args:
        path: Path of the file, or name of the dataset.
        location: What error messages call the photo.
        start: Offset in a .tar file in bytes, row of a Parquet file, or index in a dataset; `None` is a whole file.
        length: Bytes in a .tar file.
        column: Column of a Parquet file.
        split: Split of a dataset.
        root: Folder in which a dataset is stored; `None` means the default of its library.
    """

    path: str
    location: str
    start: int | None = None
    length: int | None = None
    column: str | None = None
    split: str | None = None
    root: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "PhotoPlace":
        """Restore a place from what `to_dict` returns."""
        return cls(**data)

    def to_dict(self) -> dict[str, Any]:
        """Return the place as plain data, without what is `None`."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @contextlib.contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Context manager that opens the bytes of the photo; an item of a dataset has none.

        Raises:
            FileError: If they cannot be read.
        """
        if self.column is not None and self.start is not None:
            yield io.BytesIO(read_cell(self.path, self.column, self.start))
        elif self.start is not None:
            yield io.BytesIO(read_part(self.path, self.start, self.length))
        else:
            with opened(self.path) as file:
                yield file

    def picture(self) -> Image.Image:
        """Decode the photo, as `vaezoo.io.read_image.read_picture` does.

        Raises:
            FileError: If its bytes cannot be read.
            ImageError: If it is damaged.
        """
        if self.split is not None and self.start is not None:
            return _items(self.path, self.root, self.split)[self.start][1]()
        with self.opened() as file:
            return decode_picture(file, self.location)

    def size(self) -> tuple[int, int]:
        """Return width and height of the upright photo in pixels; only the items of datasets are decoded for it.

        Raises:
            FileError: If its bytes cannot be read.
            ImageError: If it is damaged.
        """
        if self.split is not None:
            return self.picture().size
        with self.opened() as file:
            return picture_size(file, self.location)

    def sha256(self) -> str:
        """SHA-256 of the bytes of the photo; for an item of a dataset, that of its decoded pixels.

        Raises:
            FileError: If its bytes cannot be read.
            ImageError: If the item of a dataset is damaged.
        """
        if self.split is not None:
            return hashlib.sha256(self.picture().tobytes()).hexdigest()
        with self.opened() as file:
            return digest_of(file)

    def hashed_picture(self) -> tuple[str, Image.Image | ImageError]:
        """Return the SHA-256, and the decoded photo or the `ImageError` of a damaged one, of the same bytes.

        Raises:
            FileError: If its bytes cannot be read.
            ImageError: If the item of a dataset is damaged.
        """
        if self.split is not None:
            picture = self.picture()
            return hashlib.sha256(picture.tobytes()).hexdigest(), picture
        with self.opened() as file:
            digest = digest_of(file)
            try:
                return digest, decode_picture(file, self.location)
            except ImageError as error:
                return digest, error


@functools.lru_cache(maxsize=1)
def _items(name: str, root: str | None, split: str) -> list[Item]:
    return dataset_items(name, root, split)
