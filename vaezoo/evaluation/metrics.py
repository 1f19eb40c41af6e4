"""Metrics of a reconstruction."""

import torch
from torch import Tensor

from vaezoo.errors import InputError


def psnr(images: Tensor, reconstruction: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each image, of shape (B,); infinite for equal images.

    Args:
        images: Of shape (B, C, H, W), values in [-1, 1].
        reconstruction: Of the same shape; clamped to [-1, 1] first.
    """
    if images.shape != reconstruction.shape:
        raise InputError(f"psnr: shapes {tuple(images.shape)} and {tuple(reconstruction.shape)} differ")
    error = (images.double() - reconstruction.double().clamp(-1, 1)).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(4 / error)  # peak to peak is 2
