"""Distribution of the energy of latents over spatial frequencies.

Source: Skorokhodov et al. 2025, "Improving the Diffusability of Autoencoders" (arXiv:2502.14831), which studies
latents by their DCT.
"""

import math

import torch
from torch import Tensor

from vaezoo.errors import InputError

HIGH = 0.5  # frequencies from this share of the highest one along a side count as high


def dct(x: Tensor) -> Tensor:
    """Compute the orthonormal DCT-II over the last two dimensions, in the shape of `x`."""
    return _basis(x.shape[-2], x) @ x @ _basis(x.shape[-1], x).T


class Spectrum:
    """DCT power of a stream of latents (B, C, h, w) of one size, in float64; all channels have the same weight."""

    def __init__(self) -> None:
        self.power = torch.zeros(0, 0, 0, dtype=torch.float64)  # (C, h, w) once there are latents

    def add(self, z: Tensor) -> None:
        """Add a batch of latents.

        Raises:
            InputError: If their shape differs from that of earlier batches.
        """
        self._add_power(dct(z.detach().cpu().double()).square().sum(dim=0))

    def merge(self, other: "Spectrum") -> None:
        """Add what another stream has seen.

        Raises:
            InputError: If the shapes of the latents differ.
        """
        if other.power.numel():
            self._add_power(other.power)

    def _add_power(self, power: Tensor) -> None:
        if self.power.numel() and self.power.shape != power.shape:
            shapes = f"{tuple(self.power.shape)} and {tuple(power.shape)}"
            raise InputError(f"spectrum: latents of shapes {shapes}; resize the images to one size")
        self.power = self.power + power if self.power.numel() else power

    def slope(self) -> float:
        """Return the exponent of the power law P(f) ~ f^slope, fitted to the logarithms of radial means.

        It is 0 for white noise and near -2 for photos; NaN if a side is too short to have two frequencies.
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
        """Return the share of the power, without the mean, at or above half of the highest frequency along a side."""
        return self._shares().mean(dim=0)[self._frequencies() >= HIGH].sum().item()

    def _shares(self) -> Tensor:
        """Return the power of each channel without its mean, as shares that sum to 1, or 0 for a flat channel."""
        power = self.power.clone()
        power[:, 0, 0] = 0
        return power / power.sum(dim=(1, 2), keepdim=True).clamp(min=1e-300)

    def _frequencies(self) -> Tensor:
        """Return the radial frequency, of shape (h, w); 1 is one sign change per latent pixel along a side."""
        height, width = self.power.shape[1:]
        return torch.hypot(torch.arange(height).view(-1, 1) / height, torch.arange(width) / width)


def _basis(length: int, like: Tensor) -> Tensor:
    """Return the DCT matrix of shape (length, length), whose row k is the k-th cosine."""
    k, n = torch.arange(length, dtype=like.dtype).view(-1, 1), torch.arange(length, dtype=like.dtype)
    basis = torch.cos(math.pi * k * (2 * n + 1) / (2 * length)) * math.sqrt(2 / length)
    basis[0] /= math.sqrt(2)
    return basis.to(like.device)
