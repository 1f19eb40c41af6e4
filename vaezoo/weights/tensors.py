"""Tensors out of safetensors files whose header is known."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vaezoo.errors import CheckpointError, SpecError
from vaezoo.formats.layouts.engine import TensorNames
from vaezoo.specs.stats import LatentStats
from vaezoo.weights.header import Header, View

PACKED_EPS = 1e-4  # of the batch norm over packed latents (black-forest-labs/flux2 `src/flux2/autoencoder.py`)
_ROUNDING = 2**-7  # bfloat16 keeps 8 binary digits
Read = Callable[[str], Tensor]


@contextlib.contextmanager
def reading(header: Header) -> Iterator[Read]:
    """A function that gives a tensor by its name in the header; the files are open within the block.

    Raises:
        CheckpointError: If a file cannot be read.
    """
    with contextlib.ExitStack() as stack:
        files = {path: stack.enter_context(_opened(path)) for path in {path for path, _ in header.locations.values()}}

        def read(name: str) -> Tensor:
            path, raw = header.locations[name]
            try:
                return files[path].get_tensor(raw)
            except (SafetensorError, OSError) as error:
                raise _unreadable(path, error) from error

        yield read


def _opened(path: object) -> safe_open:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: object, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path}: cannot be read ({error}); fetch it again")


def read_tensor(read: Read, names: TensorNames, seen: View, shape: tuple[int, ...]) -> Tensor:
    """One of our tensors, of our shape, from what the file keeps of it."""
    pieces = [read(seen.names[name]) for name in names.names]
    joined = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
    return (joined[:, :, -1] if names.last_frame else joined).reshape(shape)


def read_statistics(read: Read, seen: View, channels: int, what: str | Path) -> LatentStats | None:
    """The batch norm's statistics over packed latents in the file `what`, as FLUX.2's; None where it holds none.

    Raises:
        CheckpointError: If they are not those of latents with `channels` channels, or no statistics.
    """
    if not {"running_mean", "running_var"} <= seen.statistics.keys():
        return None
    place = seen.statistics["running_mean"].removesuffix("running_mean")
    mean, var = (read(seen.statistics[f"running_{name}"]) for name in ("mean", "var"))
    pack = round((mean.numel() / channels) ** 0.5)
    if pack < 2 or mean.shape != (channels * pack**2,) or var.shape != mean.shape:
        raise CheckpointError(
            f"{what}: {place}*: means of shape {tuple(mean.shape)} and variances of shape {tuple(var.shape)} are not "
            f"those of packed latents with {channels} channels"
        )
    stats = LatentStats(mean=_values(mean), var=_values(var), eps=PACKED_EPS, pack=pack)
    try:
        stats.check(channels, f"{what}: {place}*")
    except SpecError as error:
        raise CheckpointError(str(error)) from error
    return stats


def _values(tensor: Tensor) -> tuple[float, ...]:
    return tuple(tensor.double().tolist())


def merge_statistics(stored: LatentStats | None, told: LatentStats | None, what: str | Path) -> LatentStats | None:
    """The latent statistics told beside the tensors of `what`, or else those that lie among them.

    What is told may only say that they are among the tensors, and the eps of a batch norm, which is no tensor.

    Raises:
        CheckpointError: If they should be there and are not, or are others than those told.
    """
    if told is None:
        return stored
    if not told.in_file:
        if stored is not None and not _same(replace(stored, eps=told.eps or stored.eps), told):
            raise CheckpointError(
                f"{what}: holds statistics of packed latents that are not those told beside it; remove the wrong ones"
            )
        return told
    if stored is None or stored.pack != told.pack:
        raise CheckpointError(f"{what}: holds no statistics of latents packed {told.pack}x{told.pack}, as it should")
    return replace(stored, eps=told.eps)


def _same(stored: LatentStats, told: LatentStats) -> bool:
    """Whether statistics are the same but for the rounding of a file's dtype."""
    if stored.pack != told.pack:
        return False
    pairs = [*zip(stored.offset, told.offset, strict=True), *zip(stored.gain, told.gain, strict=True)]
    return all(math.isclose(a, b, rel_tol=_ROUNDING, abs_tol=_ROUNDING) for a, b in pairs)
