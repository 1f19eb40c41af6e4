"""Ranks as threads of one process, which exchange tensors through queues."""

import queue
import threading
from concurrent.futures import ThreadPoolExecutor

from vaezoo.distributed import ProcessGroup


class ThreadGroup(ProcessGroup):
    """A rank of a group whose ranks are threads."""

    def __init__(self, rank, queues, values, barrier):
        super().__init__(rank, barrier.parties)
        self.__dict__.update(queues=queues, values=values, barrier=barrier)

    def gather(self, value):
        self.values[self.rank] = value
        self.barrier.wait()
        found = list(self.values)
        self.barrier.wait()
        return found

    def exchange(self, sent, received):
        for rank, tensor in sent:
            self.queues[self.rank, rank].put(tensor.clone())
        for rank, tensor in received:
            found = self.queues[rank, self.rank].get(timeout=30)
            assert (found.shape, found.dtype) == (tensor.shape, tensor.dtype)
            tensor.copy_(found)


def on_ranks(count, function):
    """Return what `function(group)` returns on each rank."""
    queues = {(a, b): queue.Queue() for a in range(count) for b in range(count)}
    values, barrier = [None] * count, threading.Barrier(count, timeout=60)
    groups = [ThreadGroup(rank, queues, values, barrier) for rank in range(count)]
    with ThreadPoolExecutor(count) as pool:
        results = [future.result() for future in [pool.submit(function, group) for group in groups]]
    assert all(each.empty() for each in queues.values())  # nothing was sent that is not received
    return results
