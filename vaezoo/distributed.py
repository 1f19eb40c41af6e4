"""Process groups: the processes that `torchrun` started, or this process alone."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")
CPU = torch.device("cpu")


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that share one piece of work; the default is a group of one on the CPU.

    Every method but `share` is collective: all processes must call it, in the same order.

    Args:
        rank: Number of this process, from 0 to `world_size` - 1.
        world_size: Number of processes, at least 1.
        device: Device that this process computes on.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device = CPU

    @property
    def is_first(self) -> bool:
        """Whether this process has rank 0, which writes the files."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[tuple[int, T]]:
        """Select this process's items, each with its index; every item goes to exactly one process."""
        return list(enumerate(items))[self.rank :: self.world_size]

    def gather(self, value: T) -> list[T]:
        """Collect one picklable value from each process, in order of rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def exchange(self, sent: Sequence[tuple[int, Tensor]], received: Sequence[tuple[int, Tensor]]) -> None:
        """Send contiguous tensors to other processes and fill tensors with what they send.

        Args:
            sent: Tensors, each with the process that it is for.
            received: Tensors of the same shapes and dtypes, each with the process that it comes from; in the order in
                which that one sends them.
        """
        sending = [dist.P2POp(dist.isend, tensor, rank) for rank, tensor in sent]
        receiving = [dist.P2POp(dist.irecv, tensor, rank) for rank, tensor in received]
        for work in dist.batch_isend_irecv([*sending, *receiving]) if sending or receiving else ():
            work.wait()

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true in at least one process."""
        return any(self.gather(flag))

    def wait(self) -> None:
        """Block until every process has reached this call."""
        if self.world_size > 1:
            dist.barrier()


SINGLE = ProcessGroup()


@contextlib.contextmanager
def process_group(device_name: str | None = None) -> Iterator[ProcessGroup]:
    """Initialize the process group of `torchrun` for the block; without `torchrun`, a group of one.

    Args:
        device_name: Device that tensors are exchanged on, see `local_device`; NCCL is used on a GPU and Gloo elsewhere.

    Yields:
        The group, as this process sees it.
    """
    device = torch.device(local_device(device_name))
    if device.index is not None and device.type == "cuda":
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ProcessGroup(device=device)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield ProcessGroup(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()


def local_device(name: str | None = None) -> str:
    """Resolve a device name for this process.

    Args:
        name: Device name. Under `torchrun`, "cuda" becomes the GPU of this process. `None` means the GPU of this
            process if PyTorch finds one, else the CPU. Any other name is returned unchanged.
    """
    rank = os.environ.get("LOCAL_RANK")
    if name is None:
        return f"cuda:{rank or 0}" if torch.cuda.is_available() else "cpu"
    return f"cuda:{rank}" if name == "cuda" and rank is not None else name


def mean_over_processes(x: Tensor) -> Tensor:
    """Average a tensor over all processes; without a process group, return it unchanged."""
    if not dist.is_available() or not dist.is_initialized():
        return x
    x = x.clone()
    dist.all_reduce(x)
    return x / dist.get_world_size()
