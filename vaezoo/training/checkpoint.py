"""Checkpoints of a run: one safetensors file each, from which the run continues as if it had never stopped.

Everything but tensors is JSON in one metadata entry of the header. No pickle is involved.
"""

import json
import re
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.optim import Optimizer

from vaezoo.distributed import ProcessGroup
from vaezoo.errors import CheckpointError
from vaezoo.io.files import make_folder
from vaezoo.io.tensor_file import write_tensors
from vaezoo.training.state import Progress, State

FOLDER = "checkpoints"
KEY = "vaezoo_training"
REMEDY = "remove it to continue from the one before"
FORMAT = 1
_NAME = re.compile(r"step_(\d{9})\.safetensors")
_MALFORMED = (AttributeError, KeyError, TypeError, ValueError, IndexError, RuntimeError)  # of values of other kinds


def checkpoints(run: Path) -> list[Path]:
    """List the checkpoints of a run folder, oldest first."""
    folder = run / FOLDER
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name)) if folder.is_dir() else []


def step_of(path: Path) -> int:
    """Return the number of steps made before a checkpoint, from its name, which `checkpoints` returned."""
    return int(path.stem.removeprefix("step_"))


def save_checkpoint(state: State, run: Path, keep: int, group: ProcessGroup) -> None:
    """Write a checkpoint atomically, then remove those that are neither among the last `keep` nor the best.

    Args:
        state: State of the run.
        run: Run folder.
        keep: Number of latest checkpoints to keep.
        group: This process among those that train together; all of them must call this function.

    Raises:
        FileError: If the file cannot be written, such as on a full disk; earlier checkpoints are kept.
    """
    random = group.gather(random_states(group.device))
    if group.is_first:
        tensors: dict[str, Tensor] = {}
        data = {
            "format": FORMAT,
            "progress": state.progress.to_dict(),
            "task": pack(dict(state.task.state_dict()), "task", tensors),
            "ema": pack(dict(state.ema.module.state_dict()), "ema", tensors),
            "optimizers": pack(
                {name: u.optimizer.state_dict() for name, u in state.updaters.items()}, "optimizers", tensors
            ),
            "random": pack(random, "random", tensors),
        }
        path = make_folder(run / FOLDER) / f"step_{state.progress.step:09d}.safetensors"
        write_tensors(tensors, path, {KEY: json.dumps(data)})
        prune(run, keep, state.progress.best_step)
    group.wait()


def restore_checkpoint(state: State, path: Path, group: ProcessGroup) -> None:
    """Restore the state of a checkpoint bit for bit.

    The random state of PyTorch is restored only if the number of processes is the same.

    Args:
        state: State of the same network and recipe, changed in place.
        path: Checkpoint file.
        group: This process among those that train together.

    Raises:
        CheckpointError: If the file is damaged, or belongs to another network or recipe.
    """
    tensors, data = read_tensors(path)
    try:
        state.task.load_state_dict(unpack(data["task"], tensors))
        state.ema.module.load_state_dict(unpack(data["ema"], tensors))
        for name, saved in unpack(data["optimizers"], tensors).items():
            load_optimizer(state.updaters[name].optimizer, saved)
        random = unpack(data["random"], tensors)
        progress = Progress.from_dict(data["progress"])
        if len(random) == group.world_size:
            set_random_states(random[group.rank], group.device)
    except _MALFORMED as error:
        raise _misfit(path, error) from error
    state.progress = progress


def average_of(path: Path) -> dict[str, Tensor]:
    """Read the averaged weights of a checkpoint; raises the errors of `restore_checkpoint`."""
    tensors, data = read_tensors(path, "ema.")
    try:
        return cast(dict[str, Tensor], unpack(data["ema"], tensors))
    except _MALFORMED as error:
        raise _misfit(path, error) from error


def prune(run: Path, keep: int, best_step: int | None) -> None:
    """Remove all checkpoints but the last `keep` and that of `best_step`."""
    for path in checkpoints(run)[:-keep]:
        if step_of(path) != best_step:
            path.unlink(missing_ok=True)


def load_optimizer(optimizer: Optimizer, saved: dict[str, Any]) -> None:
    """Restore an optimizer's state in the memory format of its parameters, because rounding may depend on it."""
    optimizer.load_state_dict(saved)
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def random_states(device: torch.device) -> list[Tensor]:
    """Return PyTorch's random state: of the CPU, and of `device` if that is a GPU."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_random_states(states: list[Tensor], device: torch.device) -> None:
    """Set the random states that `random_states` returned."""
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


def pack(data: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Convert nested data to data that JSON can represent.

    Args:
        data: Tensors, `None`, booleans, numbers and strings, nested in dictionaries, lists and tuples.
        name: Prefix of the names of its tensors.
        tensors: Dictionary to which the tensors are added.

    Raises:
        CheckpointError: If the data contains anything else.
    """
    if isinstance(data, Tensor):
        tensors[name] = data.detach().to("cpu").contiguous().clone()
        return {"tensor": name}
    if isinstance(data, dict):
        return {"dict": [[key, pack(value, f"{name}.{key}", tensors)] for key, value in data.items()]}
    if isinstance(data, list | tuple):
        items = [pack(value, f"{name}.{index}", tensors) for index, value in enumerate(data)]
        return {"tuple" if isinstance(data, tuple) else "list": items}
    if data is None or isinstance(data, bool | int | float | str):
        return {"value": data}
    raise CheckpointError(f"{name}: a checkpoint cannot contain a {type(data).__name__}")


def unpack(packed: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    """Convert data back that `pack` returned."""
    ((kind, content),) = packed.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: unpack(value, tensors) for key, value in content}
    if kind in ("list", "tuple"):
        items = [unpack(value, tensors) for value in content]
        return tuple(items) if kind == "tuple" else items
    return content


def _misfit(path: Path, error: Exception) -> CheckpointError:
    reason = str(error).strip().partition("\n")[0]
    return CheckpointError(f"{path}: does not fit this run ({type(error).__name__}: {reason}); {REMEDY}")


def read_tensors(path: Path, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the data of a checkpoint, and those of its tensors whose names start with `prefix`.

    Raises:
        CheckpointError: If the file cannot be read, or is not a training checkpoint of this format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            data = json.loads((file.metadata() or {}).get(KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged ({error}); {REMEDY}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a training checkpoint of format {FORMAT}; {REMEDY}")
    return tensors, data
