"""Convert pickled checkpoints to safetensors without running code."""

import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from struct import error as StructError
from typing import Any, NamedTuple

import torch

from vaezoo.errors import CheckpointError
from vaezoo.io.files import opened
from vaezoo.io.tensor_file import write_tensors
from vaezoo.weights.header import AVERAGED
from vaezoo.weights.header_diff import shown
from vaezoo.weights.inert_unpickler import PickledTensor
from vaezoo.weights.torch_files import open_torch_file

_WRAPPERS = (  # where training code keeps the weights, the first one first
    *("state_dict", "model_state_dict", "model", "module", "vae", "autoencoder", "first_stage_model", "net"),
    *("params", "weights", "generator"),
)
_DEPTH = 4
_LONGEST_KEY = 200
_LARGEST = 4  # bytes of tensors for each byte of the file; more are views that only look large
_WRITTEN = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)


class TensorGroup(NamedTuple):
    """Tensors that lie together in a pickled checkpoint.

    Args:
        key: The keys that lead to them, joined by dots; empty at the top.
        tensors: Number of tensors.
    """

    key: str
    tensors: int

    def __str__(self) -> str:
        return f"{shown(self.key) or 'the top level'} ({self.tensors} tensors)"


class FromPickle(NamedTuple):
    """What `from_pickle` wrote.

    Args:
        taken: The tensors that were written.
        left: Other tensors of the file.
        stand_ins: Classes and functions in the file that were not imported.
    """

    taken: TensorGroup
    left: tuple[TensorGroup, ...]
    stand_ins: tuple[str, ...]


def from_pickle(path: str | Path, out: str | Path, key: str | None = None) -> FromPickle:
    """Write the tensors of a pickled checkpoint to a safetensors file.

    No code in the pickle runs, nothing is imported, and objects other than tensors and plain data are not built. A
    checkpoint may hold several groups of tensors, such as `model` and `ema`. Averaged weights are taken if there are
    any, or else the group under a usual name (`state_dict`, `model`), or else the only group.

    Args:
        path: Pickled checkpoint (`.ckpt`, `.pt`, `.pth`, `.bin`).
        out: Safetensors file to write; on an error nothing is written.
        key: Group to take, such as "model" or "ema.state_dict"; `None` chooses as described above.

    Returns:
        What was taken and left.

    Raises:
        FileError: If `path` does not exist, or `out` cannot be written.
        CheckpointError: If `path` is not a file of `torch.save`, has no named tensors, no group `key`, or several
            groups none of which is usual.
    """
    with open_torch_file(path) as file:
        groups = _groups(file.data)
        taken = _chosen(path, groups, key)
        described = groups[taken]
        if sum(_bytes(tensor) for tensor in described.values()) > _LARGEST * file.size:
            raise CheckpointError(f"{path}: its tensors are over {_LARGEST} times as large as the file; it is damaged")
        tensors = {name: file.read(shown(name), tensor) for name, tensor in described.items()}
        for name, tensor in tensors.items():
            if tensor.dtype not in _WRITTEN:
                raise CheckpointError(f"{path}: {shown(name)} is {tensor.dtype}, which vaezoo does not convert")
        stand_ins = tuple(file.stand_ins)
    write_tensors(tensors, out)
    listed = {name: TensorGroup(name, len(group)) for name, group in groups.items()}
    return FromPickle(listed.pop(taken), tuple(listed.values()), stand_ins)


def _bytes(tensor: PickledTensor) -> int:
    return math.prod(tensor.size) * tensor.dtype.itemsize


def _groups(data: Any) -> dict[str, dict[str, PickledTensor]]:
    """Find the mappings that hold tensors by name, by the keys that lead to them."""
    found: dict[str, dict[str, PickledTensor]] = {}
    level, seen = {"": data}, set()
    for _ in range(_DEPTH + 1):
        below: dict[str, Any] = {}
        for path, value in level.items():
            if not isinstance(value, Mapping) or id(value) in seen:  # the same mapping many times over
                continue
            seen.add(id(value))
            named = {name: inner for name, inner in value.items() if isinstance(name, str)}
            tensors = {name: inner for name, inner in named.items() if isinstance(inner, PickledTensor)}
            if tensors:
                found[path] = tensors
            below |= {
                f"{path}.{name}" if path else name: inner for name, inner in named.items() if len(name) <= _LONGEST_KEY
            }
        level = below
    return found


def _chosen(path: str | Path, groups: Mapping[str, Mapping[str, PickledTensor]], key: str | None) -> str:
    """Choose the group to take."""
    listing = ", ".join(str(TensorGroup(name, len(group))) for name, group in list(groups.items())[:20])
    if not groups:
        raise CheckpointError(f"{path}: no tensors by name in it; save model.state_dict() with torch.save")
    if key is not None:
        if key not in groups:
            raise CheckpointError(
                f"{path}: no tensors under {shown(key)!r}; there are {listing}; write one after --key"
            )
        return key
    ranks = {name: _rank(name, len(group), groups) for name, group in groups.items()}
    best = [name for name in groups if ranks[name] == min(ranks.values())]
    if len(best) > 1:
        raise CheckpointError(f"{path}: several groups of tensors: {listing}; choose one with --key")
    return best[0]


def _rank(name: str, count: int, groups: Mapping[str, Mapping[str, PickledTensor]]) -> tuple[int, int]:
    """Rank a group: averaged weights first, then the usual names in their order, the top level, and the others."""
    keys = name.split(".") if name else []
    averaged = [AVERAGED.fullmatch(part) for part in keys]
    others = [len(group) for other, group in groups.items() if not any(map(AVERAGED.fullmatch, other.split(".")))]
    plain = [part for part, match in zip(keys, averaged, strict=True) if not match]
    unusual = [part for part in plain if part not in _WRAPPERS]
    usual = sum(_WRAPPERS.index(part) + 1 for part in plain if part in _WRAPPERS)
    whole = 4 * count >= max(others, default=0)  # not the few numbers of a running average
    if any(averaged) and whole and not unusual:
        return 0, usual
    if unusual or any(averaged):
        return 3, 0
    return (1, usual) if keys else (2, 0)


def read_pickle(path: str | Path) -> Any:
    """Read a pickle that contains only tensors and plain data, with PyTorch's restricted reader.

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
    except (
        *(UnpicklingError, StructError, RuntimeError, EOFError, ValueError, LookupError, OSError, AttributeError),
        *(TypeError, AssertionError, ArithmeticError, MemoryError),
    ) as error:
        culprit = re.search(r"(?:Unsupported global: GLOBAL|Unsupported class|type) ([\w.]+)", str(error))
        reason = f"it contains {culprit[1]}" if culprit else type(error).__name__
        raise CheckpointError(
            f"{path}: PyTorch's restricted reader (weights_only=True) refuses it ({reason}): it is damaged, not a "
            "pickle, or contains objects other than tensors and plain data, which vaezoo never opens"
        ) from error
