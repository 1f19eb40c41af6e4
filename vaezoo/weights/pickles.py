"""Convert pickled checkpoints to safetensors with PyTorch's restricted unpickler, which runs no code."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from vaezoo.errors import CheckpointError
from vaezoo.io.files import opened, replacing

_WRAPPERS = ("state_dict", "model", "module", "autoencoder", "params")  # where training code keeps the tensors
_DEPTH = 4


def from_pickle(path: str | Path, out: str | Path) -> int:
    """Write the tensors of a pickled checkpoint to a safetensors file.

    The pickle is opened with `weights_only=True`, so that no code in it runs. Dictionaries around the tensors
    (`state_dict`, `model`) are unwrapped; entries that are not tensors are left out.

    Args:
        path: Pickled checkpoint (`.ckpt`, `.pt`, `.pth`, `.bin`).
        out: Safetensors file to write; on an error nothing is written.

    Returns:
        Number of tensors.

    Raises:
        FileError: If `path` does not exist, or `out` cannot be written.
        CheckpointError: If `path` is not a pickle, contains objects other than tensors and plain data, or has no named
            tensors.
    """
    tensors = _named_tensors(read_pickle(path), path)
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or tensor.is_nested:
            raise CheckpointError(
                f"{path}: {name} is sparse, quantized, nested or without values; save it as a dense tensor"
            )
    with replacing(out) as temporary:
        # safetensors refuses tensors that share memory, as those of a pickle may
        save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, temporary)
    return len(tensors)


def read_pickle(path: str | Path) -> Any:
    """Read a pickle that contains only tensors and plain data.

    Raises:
        FileError: If the file does not exist.
        CheckpointError: If it is not a pickle, or contains other objects.
    """
    with opened(path):  # raises the FileError of all other files
        pass
    try:
        with warnings.catch_warnings():
            # both precede an error of their own
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            warnings.filterwarnings("ignore", message="Validating sparse tensor")
            return torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError, AttributeError) as error:
        culprit = re.search(r"(?:Unsupported global: GLOBAL|Unsupported class|type) ([\w.]+)", str(error))
        reason = f"it contains {culprit[1]}" if culprit else type(error).__name__
        raise CheckpointError(
            f"{path}: PyTorch's restricted reader (weights_only=True) refuses it ({reason}): it is damaged, not a "
            "pickle, or contains objects other than tensors and plain data, which vaezoo never opens"
        ) from error


def _named_tensors(data: Any, path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of the innermost wrapper that has any."""
    for _ in range(_DEPTH):
        if not isinstance(data, Mapping):
            break
        tensors = {name: value for name, value in data.items() if isinstance(name, str) and isinstance(value, Tensor)}
        inner = next((data[key] for key in _WRAPPERS if isinstance(data.get(key), Mapping)), None)
        if tensors and inner is None:
            return tensors
        data = inner
    raise CheckpointError(f"{path}: no tensors by name in it, neither at its top nor under {', '.join(_WRAPPERS)}")
