"""Several processes that share one piece of work, as `torchrun` starts them."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process's number, from 0, and how many there are."""

    rank: int = 0
    count: int = 1

    def share(self, items: Sequence[T]) -> list[tuple[int, T]]:
        """This process's part of the items, each with its index; every item is in exactly one part, none twice."""
        return list(enumerate(items))[self.rank :: self.count]

    def gather(self, thing: T) -> list[T]:
        """What each process passes here, in the order of their numbers; waits for all of them."""
        if self.count == 1:
            return [thing]
        things: list[T | None] = [None] * self.count
        dist.all_gather_object(things, thing)
        return things


@contextlib.contextmanager
def processes() -> Iterator[Processes]:
    """The processes that `torchrun` started, joined for the block; one alone where it did not.

    They talk by gloo, on the CPU, also where the models are on GPUs: results are small.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    dist.init_process_group("gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def own_device(device: str) -> str:
    """`cuda` as the GPU of this process, where `torchrun` started several; any other device as it is."""
    local = os.environ.get("LOCAL_RANK")
    return f"cuda:{local}" if device == "cuda" and local is not None else device
