"""Reading tensors and latent statistics from safetensors files whose header is known."""

import contextlib
import math
import os
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
_MAPPED = 32 * 2**20  # bytes of a file to hold in memory beside the model
_ROUNDING = 2**-7  # bfloat16 keeps 8 binary digits
ReadTensor = Callable[[str], Tensor]


@contextlib.contextmanager
def open_tensors(header: Header) -> Iterator[ReadTensor]:
    """Open the files of a header; gives a function that reads a tensor by its name in the header.

    Raises:
        CheckpointError: If a file cannot be read.
    """
    files = {path: _MappedFile(path) for path in {path for path, _ in header.locations.values()}}

    def read(name: str) -> Tensor:
        path, raw = header.locations[name]
        tensor = files[path].tensor(raw)
        if tuple(tensor.shape) != header.shapes[name]:
            raise _replaced(path)
        return tensor

    yield read


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Copy tensors with one thread: page faults limit it, and several would wait for other processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _MappedFile:
    """A safetensors file that is mapped again after some time, which returns the memory of the tensors read so far."""

    def __init__(self, path: Path) -> None:
        self.path, self.identity, self.bytes = path, _identity(path), 0
        self.file = _opened(path)

    def tensor(self, name: str) -> Tensor:
        if self.bytes > _MAPPED:
            self.file, self.bytes = _opened(self.path), 0
            if _identity(self.path) != self.identity:
                raise _replaced(self.path)
        try:
            tensor = self.file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise _unreadable(self.path, error) from error
        self.bytes += tensor.nbytes
        return tensor


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _replaced(path: Path) -> CheckpointError:
    return CheckpointError(f"{path}: was replaced while it was read; load it again")


def _opened(path: object) -> safe_open:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: object, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path}: cannot be read ({error}); fetch it again")


def read_tensor(read: ReadTensor, names: TensorNames, seen: View, shape: tuple[int, ...]) -> Tensor:
    """Read one tensor of a VAE, which the file may hold in pieces, in another shape, or with a time dimension."""
    pieces = [read(seen.names[name]) for name in names.names]
    whole = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
    return (whole[:, :, -1] if names.last_frame else whole).reshape(shape)


def read_statistics(read: ReadTensor, seen: View, channels: int, what: str | Path) -> LatentStats | None:
    """Read the statistics of packed latents that a file holds as those of a batch norm, as FLUX.2 does.

    Args:
        read: Reads a tensor by its name in the file.
        seen: The file in its layout.
        channels: Latent channels of the network.
        what: The file, for messages.

    Returns:
        The statistics; `None` if the file holds none.

    Raises:
        CheckpointError: If they have a wrong shape for `channels`, or values that are not statistics.
    """
    if not {"running_mean", "running_var"} <= seen.statistics.keys():
        return None
    prefix = seen.statistics["running_mean"].removesuffix("running_mean")
    mean, var = (read(seen.statistics[f"running_{name}"]) for name in ("mean", "var"))
    pack = round((mean.numel() / channels) ** 0.5)
    if pack < 2 or mean.shape != (channels * pack**2,) or var.shape != mean.shape:
        raise CheckpointError(
            f"{what}: {prefix}*: means of shape {tuple(mean.shape)} and variances of shape {tuple(var.shape)} are not "
            f"those of packed latents with {channels} channels"
        )
    stats = LatentStats(mean=_values(mean), var=_values(var), eps=PACKED_EPS, pack=pack)
    try:
        stats.check(channels, f"{what}: {prefix}*")
    except SpecError as error:
        raise CheckpointError(str(error)) from error
    return stats


def _values(tensor: Tensor) -> tuple[float, ...]:
    return tuple(tensor.double().tolist())


def merge_statistics(stored: LatentStats | None, recorded: LatentStats | None, what: str | Path) -> LatentStats | None:
    """Combine the latent statistics in a weights file with those in its config or record.

    Args:
        stored: Statistics in the file, see `read_statistics`.
        recorded: Statistics in the config or record. They may consist of `pack` and `eps` only, which is not a tensor:
            then mean and variance must be in the file.
        what: The file, for messages.

    Returns:
        The recorded statistics if there are any, else those in the file.

    Raises:
        CheckpointError: If statistics are missing in the file, or differ from the recorded ones.
    """
    if recorded is None:
        return stored
    if not recorded.in_file:
        if stored is not None and not _same(replace(stored, eps=recorded.eps or stored.eps), recorded):
            raise CheckpointError(
                f"{what}: holds statistics of packed latents that differ from those in its config or record; remove "
                "the wrong ones"
            )
        return recorded
    pack = recorded.pack
    if stored is None or stored.pack != pack:
        raise CheckpointError(f"{what}: does not hold the statistics of latents packed {pack}x{pack}, which it must")
    return replace(stored, eps=recorded.eps)


def _same(stored: LatentStats, recorded: LatentStats) -> bool:
    """Whether statistics are equal up to the rounding of the file's dtype."""
    if stored.pack != recorded.pack:
        return False
    pairs = [*zip(stored.offset, recorded.offset, strict=True), *zip(stored.gain, recorded.gain, strict=True)]
    return all(math.isclose(a, b, rel_tol=_ROUNDING, abs_tol=_ROUNDING) for a, b in pairs)
