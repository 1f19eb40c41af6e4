"""Normalize latents by their statistics, and back."""

import torch.nn.functional as F
from torch import Tensor

from vaezoo.specs.stats import LatentStats


def normalize_latents(z: Tensor, stats: LatentStats) -> Tensor:
    """Convert raw latents to normalized ones.

    Args:
        z: Latents of shape (..., C, h, w); h and w must be multiples of `stats.pack`, if that is set.
        stats: Statistics for C channels.

    Returns:
        (z - mean) / std per channel, or as the statistics define it, of the same shape; packed if they pack.
    """
    offset, gain = _columns(z, stats)
    return (F.pixel_unshuffle(z, stats.pack or 1) - offset) * gain


def denormalize_latents(z: Tensor, stats: LatentStats) -> Tensor:
    """Convert latents as `normalize_latents` returns them to raw ones."""
    offset, gain = _columns(z, stats)
    return F.pixel_shuffle(z / gain + offset, stats.pack or 1)


def _columns(z: Tensor, stats: LatentStats) -> tuple[Tensor, Tensor]:
    """Offset and gain as tensors that broadcast over positions."""
    return z.new_tensor(stats.offset).view(-1, 1, 1), z.new_tensor(stats.gain).view(-1, 1, 1)
