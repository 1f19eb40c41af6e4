"""Pickled checkpoints to safetensors, by PyTorch's restricted reader, which builds tensors and plain data only."""

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

_WRAPPERS = (
    "state_dict",
    "model",
    "module",
    "autoencoder",
    "params",
)  # where training code keeps the tensors
_DEPTH = 4


def from_pickle(path: str | Path, out: str | Path) -> int:
    """Write the tensors of a pickled checkpoint (`.ckpt`, `.pt`, `.pth`, `.bin`) to a safetensors file; their number.

    The pickle is opened with `weights_only=True`: nothing in it is run. Dictionaries around the tensors
    (`state_dict`, `model`) are opened; what is no tensor is left out.

    Args:
        path: The pickle.
        out: The safetensors file to write, whole or not at all.

    Raises:
        FileError: If there is no such file, or `out` cannot be written.
        CheckpointError: If it is no pickle, holds more than tensors and plain data, or no tensors by name.
    """
    tensors = _named_tensors(read_pickle(path), path)
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or tensor.is_nested:
            raise CheckpointError(f"{path}: {name} is sparse, quantised, nested or without values: not read")
    with replacing(out) as temporary:
        # a copy of each, because a pickle's tensors may share their memory
        save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, temporary)
    return len(tensors)


def read_pickle(path: str | Path) -> Any:
    """What a pickle holds, where that is tensors and plain data only.

    Raises:
        FileError: If there is no such file.
        CheckpointError: If it is no pickle, or holds more than that.
    """
    with opened(path):  # a missing file is told as everywhere
        pass
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # what it cannot read is an error
            warnings.filterwarnings("ignore", message="Validating sparse tensor")  # and so are those
            return torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError, AttributeError) as error:
        culprit = re.search(r"(?:Unsupported global: GLOBAL|Unsupported class|type) ([\w.]+)", str(error))
        what = f"an object, {culprit[1]}, besides tensors" if culprit else f"{type(error).__name__}"
        raise CheckpointError(
            f"{path}: PyTorch's restricted reader (weights_only=True) does not take it ({what}): it is damaged, no "
            "pickle, or holds objects besides tensors and plain data, which vaezoo never opens"
        ) from error


def _named_tensors(data: Any, path: str | Path) -> dict[str, Tensor]:
    """The tensors of the innermost wrapper that holds any."""
    for _ in range(_DEPTH):
        if not isinstance(data, Mapping):
            break
        tensors = {name: value for name, value in data.items() if isinstance(name, str) and isinstance(value, Tensor)}
        inner = next((data[key] for key in _WRAPPERS if isinstance(data.get(key), Mapping)), None)
        if tensors and inner is None:
            return tensors
        data = inner
    raise CheckpointError(f"{path}: no tensors by name in it, at its top or under {', '.join(_WRAPPERS)}")
