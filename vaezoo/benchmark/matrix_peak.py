"""What a device reaches in the step that it is best at: multiplying large matrices."""

import time

import torch

SIDES = (256, 512, 1024, 2048, 4096, 8192, 16384)
LONG_ENOUGH = 0.02  # seconds of a product: then neither the start of threads nor that of a kernel matters
TRIES = 8


def matmul_gmacs(device: torch.device, dtype: torch.dtype) -> float:
    """Measure how many GMACs (10^9 multiply-accumulates) per second products of large square matrices reach.

    It is measured with PyTorch's threads, as the best of several products, in `dtype` and in float32, because CPUs
    without instructions for another dtype are faster in float32. The result is the larger of the two.

    Args:
        device: Device to compute on.
        dtype: Dtype of the step whose time is compared.
    """
    return max(_speed(device, each) for each in {dtype, torch.float32})


def _speed(device: torch.device, dtype: torch.dtype) -> float:
    for side in SIDES:
        a, b = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))
        if min(_seconds(a, b) for _ in range(3)) > LONG_ENOUGH:  # the first loads the kernel, others may have to wait
            break
    return side**3 / min(_seconds(a, b) for _ in range(TRIES)) / 1e9


def _seconds(a: torch.Tensor, b: torch.Tensor) -> float:
    _wait_for(a.device)
    start = time.perf_counter()
    a @ b
    _wait_for(a.device)
    return time.perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
