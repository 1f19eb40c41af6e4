"""How the energy of latents is spread over frequencies.

Source: Skorokhodov et al. 2025, "Improving the Diffusability of Autoencoders" (arXiv:2502.14831), which looks at
latents by their DCT.
"""

import math

import torch
from torch import Tensor

from vaezoo.errors import InputError

HIGH = 0.5  # of the highest frequency along a side


def dct(x: Tensor) -> Tensor:
    """Orthonormal DCT-II over the last two dimensions, of the same shape."""
    return _basis(x.shape[-2], x) @ x @ _basis(x.shape[-1], x).T


class Spectrum:
    """Mean DCT power of a stream of latents (B, C, h, w) of one size, in float64; every channel weighs the same."""

    def __init__(self) -> None:
        self.power: Tensor | None = None

    def add(self, z: Tensor) -> None:
        """Take in one batch."""
        self._join(dct(z.detach().cpu().double()).square().sum(dim=0))

    def merge(self, other: "Spectrum") -> None:
        """Take in what another stream has seen."""
        if other.power is not None:
            self._join(other.power)

    def _join(self, power: Tensor) -> None:
        if self.power is not None and self.power.shape != power.shape:
            shapes = f"{tuple(self.power.shape)} and {tuple(power.shape)}"
            raise InputError(f"spectrum: latents of shapes {shapes}; bring the images to one size")
        self.power = power if self.power is None else self.power + power

    def slope(self) -> float:
        """Exponent of the power law P(f) ~ f^slope, fitted to log radial means: 0 is white noise, photos are near -2.

        NaN where a side is so short that there are fewer than two frequencies.
        """
        power, frequency = self._shares().mean(dim=0), self._frequencies()
        step = 1 / min(power.shape)
        rings = (frequency / step).round().long()
        radii = torch.arange(1, min(power.shape))
        if len(radii) < 2:
            return math.nan
        means = torch.stack([power[rings == radius].mean() for radius in radii])
        x, y = (radii * step).double().log(), means.clamp(min=1e-300).log()
        return (((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()).item()

    def high_share(self) -> float:
        """Share of the power, without the mean's, at or above half of the highest frequency along a side."""
        return self._shares().mean(dim=0)[self._frequencies() >= HIGH].sum().item()

    def _shares(self) -> Tensor:
        """(C, h, w): each channel's power but its mean's, as a share of their sum; none for a flat channel."""
        power = self.power.clone()
        power[:, 0, 0] = 0
        return power / power.sum(dim=(1, 2), keepdim=True).clamp(min=1e-300)

    def _frequencies(self) -> Tensor:
        """(h, w): radial frequency; 1 would be one sign change per latent pixel along a side."""
        height, width = self.power.shape[1:]
        return torch.hypot(torch.arange(height).view(-1, 1) / height, torch.arange(width) / width)


def _basis(length: int, like: Tensor) -> Tensor:
    """(length, length): row k is the k-th cosine."""
    k, n = torch.arange(length, dtype=like.dtype).view(-1, 1), torch.arange(length, dtype=like.dtype)
    basis = torch.cos(math.pi * k * (2 * n + 1) / (2 * length)) * math.sqrt(2 / length)
    basis[0] /= math.sqrt(2)
    return basis.to(like.device)
