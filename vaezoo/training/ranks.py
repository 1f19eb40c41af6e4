"""The processes of one run: one, or those that torchrun started."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Ranks:
    """This process's place: its `rank` of `count`, and its `device`."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether one process at least says so."""
        return flag if self.count == 1 else any(self.gather(flag))

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean of a tensor over all processes."""
        if self.count == 1:
            return values
        values = values.clone()
        dist.all_reduce(values)
        return values / self.count

    def gather(self, data: Any) -> list[Any]:
        """Plain data or tensors of all processes, in order."""
        if self.count == 1:
            return [data]
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, data)
        return found

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            dist.barrier()


@contextlib.contextmanager
def joined(device: str | None = None) -> Iterator[Ranks]:
    """Join the processes that torchrun started, or be the only one.

    Args:
        device: Where to train; None is this process's GPU if there is one, else the CPU.
    """
    count, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if device is None:
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"
    place = torch.device(device)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if count == 1:
        yield Ranks(0, 1, place)
        return
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Ranks(rank, count, place)
    finally:
        dist.destroy_process_group()
