"""Write safetensors files atomically, and hash tensors."""

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vaezoo.errors import FileError
from vaezoo.io.files import replacing
from vaezoo.io.temporary import sweep


def write_tensors(tensors: Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors to a safetensors file, atomically; what killed writers left in its folder is removed.

    Args:
        tensors: Contiguous tensors by name.
        path: The file.
        metadata: Text entries of the header.

    Raises:
        FileError: If the file cannot be written.
        RuntimeError: If tensors share memory.
    """
    write_tensor_files({Path(path): tensors}, metadata)


def write_tensor_files(
    contents: Mapping[Path, Mapping[str, Tensor]], metadata: Mapping[str, str] | None = None
) -> None:
    """Write several safetensors files as `write_tensors` does; none is replaced before all are written.

    Args:
        contents: Contiguous tensors by name, for each file.
        metadata: Text entries of each header.

    Raises:
        FileError: As for `write_tensors`.
        RuntimeError: As for `write_tensors`.
    """
    with contextlib.ExitStack() as stack:
        for path, tensors in contents.items():
            sweep(path.parent)
            temporary = stack.enter_context(replacing(path))
            try:
                save_file(dict(tensors), temporary, dict(metadata) if metadata else None)
            except SafetensorError as error:
                raise FileError(f"{path}: cannot be written ({error})") from error


def sha256_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
