"""Threads that compute independent parts on a CPU, which wait less for each other than threads that share a part."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_threads(compute: Callable[[Part], Result], parts: Sequence[Part], most: int) -> list[Result]:
    """Compute the result of each part on the CPU without gradients, several at once.

    Args:
        compute: Called with each part, in some thread; PyTorch's threads are shared out among the calls.
        parts: The parts.
        most: Parts to compute at once, at most; there are never more than PyTorch has threads.
    """
    threads = torch.get_num_threads()
    at_once = min(len(parts), threads, most)
    if at_once < 2:
        return [compute(part) for part in parts]
    inference = torch.is_inference_mode_enabled()  # new threads start without it, and with gradients enabled

    def without_gradients(part: Part) -> Result:
        with torch.inference_mode(inference), torch.no_grad():
            return compute(part)

    try:
        with ThreadPoolExecutor(at_once, "vaezoo", torch.set_num_threads, (threads // at_once,)) as pool:
            return list(pool.map(without_gradients, parts))
    finally:
        torch.set_num_threads(threads)  # the pool changed the number that new threads start with
