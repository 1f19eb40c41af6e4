"""Files of `torch.save`, in both of its formats: their structure, and the values of chosen tensors."""

import contextlib
import io
import mmap
import os
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaezoo.errors import CheckpointError
from vaezoo.io.files import opened
from vaezoo.weights.first_bytes import pointer_or_page
from vaezoo.weights.inert_unpickler import InertUnpickler, PickledTensor

_LONGEST_PICKLE = 1 << 25  # bytes; that of Stable Diffusion's checkpoint with optimizer has 2 MB, all values apart
_MAGIC = 0x1950A86A20F9469CFC6C  # of the format before PyTorch 1.6
_DAMAGE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, LookupError, ValueError, TypeError),
    *(AttributeError, AssertionError, ArithmeticError, MemoryError, RecursionError, NotImplementedError),
)


class TorchFile:
    """The content of a file of `torch.save`.

    Args:
        path: The file, for messages.
        data: What was saved, with `PickledTensor` for tensors and `StandIn` for objects.
        stand_ins: Names of the classes and functions that were not imported.
        content: The bytes of the file.
        places: Key of a storage to its first byte and number of bytes in `content`.
    """

    def __init__(
        self,
        path: str | Path,
        data: Any,
        stand_ins: list[str],
        content: mmap.mmap,
        places: Mapping[str, tuple[int, int]],
    ) -> None:
        self.path, self.data, self.stand_ins = path, data, stand_ins
        self.size, self._content, self._places = len(content), content, places

    def read(self, name: str, tensor: PickledTensor) -> Tensor:
        """Read the values of a tensor, as a copy.

        Args:
            name: Its name, for messages.
            tensor: Its description.

        Raises:
            CheckpointError: If the tensor is not dense, or reaches beyond its storage or the file.
        """
        if tensor.storage is None:
            raise CheckpointError(
                f"{self.path}: {name} is sparse, quantized, nested or without values; save it as a dense tensor"
            )
        start, size = self._places.get(tensor.storage.key, (0, 0))
        count = size // tensor.dtype.itemsize
        last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.size, tensor.stride, strict=True))
        if 0 in tensor.size:
            return torch.empty([min(n, 1) for n in tensor.size], dtype=tensor.dtype)
        if last >= count or start + size > self.size:
            raise CheckpointError(
                f"{self.path}: {name} reaches beyond its storage: the file is damaged; fetch it again"
            )
        flat = torch.frombuffer(self._content, dtype=tensor.dtype, count=count, offset=start)
        return flat.as_strided(tensor.size, tensor.stride, tensor.offset).clone(memory_format=torch.contiguous_format)


@contextlib.contextmanager
def open_torch_file(path: str | Path) -> Iterator[TorchFile]:
    """Open a file of `torch.save` without running code, importing modules or building objects that it asks for.

    Raises:
        FileError: If the file does not exist or cannot be read.
        CheckpointError: If it is damaged, or not a file of `torch.save`.
    """
    with opened(path) as file:
        if not (size := os.fstat(file.fileno()).st_size):
            raise CheckpointError(f"{path}: the file is empty; fetch it again")
        content = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY)  # private: the file cannot change through it
        try:
            found = _read(path, file, content)
        except _DAMAGE as error:
            if found_instead := pointer_or_page(content[:512]):
                raise CheckpointError(f"{path}: {found_instead}") from error
            raise CheckpointError(
                f"{path}: cannot be read as a file of torch.save ({_reason(error)}): it is damaged or of another "
                "format; fetch it again, or save the state dict with torch.save"
            ) from error
        yield found


def _reason(error: BaseException) -> str:
    text = str(error)
    return text if isinstance(error, pickle.UnpicklingError) and text.isprintable() else type(error).__name__


def _read(path: str | Path, file: BufferedReader, content: mmap.mmap) -> TorchFile:
    if content[:4] == b"PK\x03\x04":
        return _read_zip(path, file, content)
    head = io.BytesIO(content[:_LONGEST_PICKLE])
    if InertUnpickler(head).load() != _MAGIC:
        raise pickle.UnpicklingError("a pickle that torch.save did not write")
    for _ in ("protocol", "system"):
        InertUnpickler(head).load()
    unpickler = InertUnpickler(head)
    data, keys = unpickler.load(), InertUnpickler(head).load()
    places, position = {}, head.tell()
    for key in keys:
        key = str(key) if type(key) is int else key
        (numel,) = struct.unpack("<q", content[position : position + 8])
        size = numel * unpickler.storages[key].dtype.itemsize
        if size < 0:
            raise pickle.UnpicklingError("a storage of negative size")
        places[key] = (position + 8, size)
        position += 8 + size
    return TorchFile(path, data, list(unpickler.stand_ins), content, places)


def _read_zip(path: str | Path, file: BufferedReader, content: mmap.mmap) -> TorchFile:
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
    if "constants.pkl" in entries:
        raise pickle.UnpicklingError("a TorchScript archive, which holds code")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise pickle.UnpicklingError("a compressed archive, which torch.save does not write")
    places = {name: _place(entry, content) for name, entry in entries.items()}
    if "byteorder" in places and _bytes(content, places["byteorder"]) != b"little":
        raise pickle.UnpicklingError("written on a big-endian machine")
    if places["data.pkl"][1] > _LONGEST_PICKLE:
        raise pickle.UnpicklingError(f"a pickle of more than {_LONGEST_PICKLE >> 20} MiB without its tensors")
    unpickler = InertUnpickler(io.BytesIO(_bytes(content, places["data.pkl"])))
    data = unpickler.load()
    storages = {name.removeprefix("data/"): place for name, place in places.items() if name.startswith("data/")}
    return TorchFile(path, data, list(unpickler.stand_ins), content, storages)


def _place(entry: zipfile.ZipInfo, content: mmap.mmap) -> tuple[int, int]:
    """Find the first byte and the size of an entry of an archive, after its local header."""
    header = content[entry.header_offset : entry.header_offset + 30]
    name, extra = struct.unpack("<HH", header[26:30])
    return entry.header_offset + 30 + name + extra, entry.file_size


def _bytes(content: mmap.mmap, place: tuple[int, int]) -> bytes:
    start, size = place
    return content[start : start + size]
