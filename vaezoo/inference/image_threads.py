"""Threads that compute one image of a batch each: on a CPU they wait for each other less than threads in one image."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor


def computed_at_once(compute: Callable[[Tensor], Tensor], images: Sequence[Tensor], most: int) -> list[Tensor]:
    """Compute the result of each image on the CPU without gradients, several at once.

    Args:
        compute: Called with each image, in a thread of its own; PyTorch's threads are shared out among the calls.
        images: The images.
        most: Images to compute at once.
    """
    threads = torch.get_num_threads()
    at_once = min(len(images), threads, most)
    if at_once < 2:
        return [compute(image) for image in images]
    inference = torch.is_inference_mode_enabled()  # it belongs to a thread, as gradients do

    def without_gradients(image: Tensor) -> Tensor:
        with torch.inference_mode(inference), torch.no_grad():
            return compute(image)

    try:
        with ThreadPoolExecutor(at_once, "vaezoo", torch.set_num_threads, (threads // at_once,)) as pool:
            return list(pool.map(without_gradients, images))
    finally:
        torch.set_num_threads(threads)  # for threads to come; each of those there has a number of its own
