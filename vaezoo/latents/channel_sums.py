"""Sums over the channels of latents, from which statistics follow and which can be merged."""

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from vaezoo.specs.stats import LatentStats


@dataclass(frozen=True)
class ChannelSums:
    """Sums of the values and of their squares, per channel, in float64.

    Args:
        count: Values of each channel.
        sums: Sum of each channel.
        squares: Sum of the squares of each channel.
        pack: Side of the patches that are packed into channels first (`LatentStats.pack`); 1 for none.
    """

    count: int
    sums: tuple[float, ...]
    squares: tuple[float, ...]
    pack: int = 1

    @classmethod
    def of(cls, latents: Tensor, pack: int = 1) -> "ChannelSums":
        """Add up latents of shape (N, C, h, w) with raw values of any floating-point dtype.

        The result does not depend on the number of threads, as PyTorch's sums do.
        """
        values = F.pixel_unshuffle(latents.detach().cpu().float(), pack).numpy().astype(np.float64)
        channels = [np.ascontiguousarray(values[:, channel]).ravel() for channel in range(values.shape[1])]
        sums = tuple(float(np.sum(channel)) for channel in channels)
        squares = tuple(float(np.sum(np.square(channel))) for channel in channels)
        return cls(values.size // values.shape[1], sums, squares, pack)

    @classmethod
    def merged(cls, parts: Iterable["ChannelSums"]) -> "ChannelSums":
        """Merge the sums of at least one part, all with the same channels; the order does not matter."""
        found = list(parts)
        return cls(
            sum(part.count for part in found),
            tuple(map(math.fsum, zip(*(part.sums for part in found), strict=True))),
            tuple(map(math.fsum, zip(*(part.squares for part in found), strict=True))),
            found[0].pack,
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ChannelSums":
        """Restore the sums from what `to_dict` returns."""
        return cls(data["count"], tuple(data["sums"]), tuple(data["squares"]), data["pack"])

    def to_dict(self) -> dict[str, Any]:
        """Return the sums as plain data."""
        return {"count": self.count, "sums": list(self.sums), "squares": list(self.squares), "pack": self.pack}

    @functools.cached_property
    def latent_stats(self) -> LatentStats | None:
        """Mean and standard deviation of each (packed) channel; `None` if a channel is constant or there is no value.

        The statistics are those of raw latents, as `VAE.latent_stats` takes them.
        """
        if not self.count:
            return None
        mean = tuple(value / self.count for value in self.sums)
        variance = [square / self.count - m * m for square, m in zip(self.squares, mean, strict=True)]
        if min(variance) <= 1e-12:  # LatentStats allows standard deviations from 1e-6
            return None
        return LatentStats(mean=mean, std=tuple(map(math.sqrt, variance)), pack=self.pack if self.pack > 1 else None)
