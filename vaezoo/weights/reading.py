"""Tensors out of safetensors files whose header is known."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vaezoo.errors import CheckpointError
from vaezoo.specs.stats import LatentStats
from vaezoo.weights.header import Header, View
from vaezoo.weights.layouts.part import Part

PACKED_EPS = 1e-4  # of the batch norm over packed latents (black-forest-labs/flux2 `src/flux2/autoencoder.py`)
Read = Callable[[str], Tensor]


@contextlib.contextmanager
def reading(header: Header) -> Iterator[Read]:
    """A function that gives a tensor by its name in the header; the files are open within the block.

    Raises:
        CheckpointError: If a file cannot be read.
    """
    with contextlib.ExitStack() as stack:
        files = {path: stack.enter_context(_opened(path)) for path in {path for path, _ in header.places.values()}}

        def read(name: str) -> Tensor:
            path, raw = header.places[name]
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


def read_part(read: Read, part: Part, seen: View, shape: tuple[int, ...]) -> Tensor:
    """One of our tensors, of our shape, from what the file keeps of it."""
    pieces = [read(seen.names[name]) for name in part.names]
    joined = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
    return (joined[:, :, -1] if part.last else joined).reshape(shape)


def read_statistics(read: Read, seen: View, channels: int) -> LatentStats | None:
    """The batch norm's statistics over packed latents that a file holds, as FLUX.2's do; None where it holds none.

    Raises:
        CheckpointError: If they are not those of latents with `channels` channels.
    """
    if not {"running_mean", "running_var"} <= seen.statistics.keys():
        return None
    mean, var = (tuple(read(seen.statistics[f"running_{name}"]).double().tolist()) for name in ("mean", "var"))
    pack = round((len(mean) / channels) ** 0.5)
    if pack < 2 or len(mean) != channels * pack**2 or len(var) != len(mean):
        raise CheckpointError(
            f"{seen.statistics['running_mean']}: {len(mean)} means and {len(var)} variances are not those of packed "
            f"latents with {channels} channels"
        )
    return LatentStats(mean=mean, var=var, eps=PACKED_EPS, pack=pack)


def joined_statistics(stored: LatentStats | None, told: LatentStats | None, what: str | Path) -> LatentStats | None:
    """The latent statistics that lie among the tensors of `what`, or else those told beside them.

    What is told may only say that they are among the tensors, and the eps of a batch norm, which is no tensor.

    Raises:
        CheckpointError: If they should be there and are not.
    """
    if told is None or not told.in_file:
        return stored or told
    if stored is None or stored.pack != told.pack:
        raise CheckpointError(f"{what}: holds no statistics of latents packed {told.pack}x{told.pack}, as it should")
    return replace(stored, eps=told.eps)
