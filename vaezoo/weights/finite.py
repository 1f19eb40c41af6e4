"""Checks that weights are finite numbers, before and after a cast to a smaller dtype."""

import math

import torch
from torch import Tensor

from vaezoo.errors import CheckpointError


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor has no NaN and no infinity; it allocates nothing of the tensor's size."""
    if not tensor.is_floating_point() or tensor.numel() == 0 or tensor.device.type == "meta":
        return True
    low, high = tensor.detach().aminmax()  # either is NaN if any value is
    return math.isfinite(low) and math.isfinite(high)


def cast_finite(
    tensor: Tensor, device: torch.device | None, dtype: torch.dtype | None, what: str, copy: bool = True
) -> Tensor:
    """Cast a tensor to a device and dtype.

    Args:
        tensor: The tensor.
        device: Device of the result; `None` keeps that of the tensor.
        dtype: Dtype of the result; `None` keeps that of the tensor.
        what: Name of the tensor and where it is from, for messages.
        copy: Whether the result never shares memory with the tensor.

    Raises:
        CheckpointError: If the tensor has NaN or infinite values, or values too large for `dtype`.
    """
    cast = tensor.to(device, dtype, copy=copy)
    if is_finite(cast):
        return cast
    if not is_finite(tensor):
        raise CheckpointError(f"{what} has NaN or infinite values: its training diverged; use other weights")
    largest = tensor.detach().abs().max().item()
    raise CheckpointError(f"{what} has values up to {largest:.3g}, too large for {cast.dtype}: use bfloat16 or float32")
