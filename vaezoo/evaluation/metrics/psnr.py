"""Peak signal-to-noise ratio."""

import torch
from torch import Tensor

from vaezoo.errors import InputError


def psnr(images: Tensor, reconstruction: Tensor) -> Tensor:
    """Compute the peak signal-to-noise ratio of each image.

    Args:
        images: Tensor of shape (B, C, H, W) with values in [-1, 1].
        reconstruction: Tensor of the same shape; it is clamped to [-1, 1] first.

    Returns:
        PSNR in dB, of shape (B,) and in float64; infinite for identical images.

    Raises:
        InputError: If the shapes differ.
    """
    check_same_shape(images, reconstruction, "psnr")
    error = (images.double() - reconstruction.double().clamp(-1, 1)).square().mean(dim=(1, 2, 3))
    return decibels(error)


def decibels(error: Tensor) -> Tensor:
    """PSNR in dB for the mean squared error of images in [-1, 1]; infinite for 0."""
    return 10 * torch.log10(4 / error)  # the peak-to-peak range is 2


def check_same_shape(images: Tensor, reconstruction: Tensor, metric: str) -> None:
    """Raise `InputError`, naming the metric, unless both tensors have the same shape."""
    if images.shape != reconstruction.shape:
        raise InputError(f"{metric}: shapes {tuple(images.shape)} and {tuple(reconstruction.shape)} differ")
