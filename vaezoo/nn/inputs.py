"""Checks of the tensors that a VAE is given."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from vaezoo.errors import InputError
from vaezoo.out_of_memory import enough_memory


def check_tensor(x: Tensor, what: str, channels: int, multiple: int = 1) -> None:
    """Raise `InputError` unless `x` is a floating-point tensor of shape (B, channels, H, W).

    Args:
        x: The tensor.
        what: Its name in messages, "images" or "latents".
        channels: Required number of channels.
        multiple: H and W must be positive multiples of this.
    """
    expected = f"{what} of shape (B, {channels}, H, W)"
    if not isinstance(x, Tensor):
        raise InputError(f"expected {expected}, got {type(x).__name__}; vaezoo.load_image and to_tensor make them")
    if x.ndim != 4 or x.shape[1] != channels:
        raise InputError(f"expected {expected}, got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise InputError(f"expected {expected} and floating dtype, got {x.dtype}; vaezoo.to_tensor converts")
    if 0 in x.shape or x.shape[2] % multiple or x.shape[3] % multiple:
        raise InputError(
            f"expected {expected} with H and W positive multiples of {multiple}, got {tuple(x.shape)}; "
            "vaezoo.pad_to_multiple pads images"
        )


def check_dtype(x: Tensor, what: str, dtype: torch.dtype) -> None:
    """Raise `InputError` if `x` is not of the dtype of the model and autocast does not convert it."""
    casts = not x.is_meta and torch.is_autocast_enabled(x.device.type)
    if x.dtype != dtype and not casts:
        raise InputError(f"{what} are {x.dtype}, the model is {dtype}: pass {what}.to(vae.dtype)")


def enough_memory_for(x: Tensor, name: str) -> AbstractContextManager[None]:
    """Context manager that raises `OutOfMemoryError` with shape and dtype of the input if there is not enough memory.

    Args:
        x: Images or latents.
        name: What they are, for the message.
    """
    remedy = "take fewer or smaller images at a time, the model in bf16, or "
    if torch.is_grad_enabled():
        remedy += "torch.inference_mode() where no gradients are needed"
    else:
        remedy += "vaezoo.optimize(vae, tile='auto'), which runs it in strips"
    return enough_memory(lambda: f"{name} of shape {tuple(x.shape)} in {x.dtype} on {x.device}", remedy)
