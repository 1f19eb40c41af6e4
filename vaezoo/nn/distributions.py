"""Distributions over latents. `LATENTS` maps the spec's `latent.kind` to a class; all have one interface."""

import math

import torch
from torch import Tensor

from vaezoo.errors import InputError

LOGVAR_RANGE = (-30.0, 20.0)


class Gaussian:
    """A diagonal Gaussian per latent value, from moments of shape (B, 2z, h, w): mean and log-variance.

    `moments` stay raw. `logvar` and `std` are clamped to a log-variance in [-30, 20], and computed only when asked for.

    Source: Kingma and Welling 2014 (arXiv:1312.6114); clamp as in CompVis/latent-diffusion
    `ldm/modules/distributions/distributions.py`.
    """

    moments_per_channel = 2

    def __init__(self, moments: Tensor) -> None:
        self.moments = moments

    @property
    def mean(self) -> Tensor:
        """Of shape (B, z, h, w), in raw latent units."""
        return self.moments.chunk(2, dim=1)[0]

    @property
    def logvar(self) -> Tensor:
        """Natural logarithm of the variance, clamped, of shape (B, z, h, w)."""
        return self.moments.chunk(2, dim=1)[1].clamp(*LOGVAR_RANGE)

    @property
    def std(self) -> Tensor:
        """Standard deviation, of shape (B, z, h, w)."""
        return torch.exp(0.5 * self.logvar)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw per latent value, with the gradient of the reparameterisation, of shape (B, z, h, w).

        Args:
            generator: Source of the noise, on any device; a CPU generator gives the same noise on every device.
        """
        mean = self.mean
        device = mean.device if generator is None else generator.device
        noise = torch.randn(mean.shape, generator=generator, device=device, dtype=mean.dtype).to(mean.device)
        return mean + self.std * noise

    def mode(self) -> Tensor:
        """The most likely latents: the mean, of shape (B, z, h, w)."""
        return self.mean

    def kl(self, other: "Gaussian | None" = None) -> Tensor:
        """KL divergence to a standard normal, or to `other`, in nats summed over each image, of shape (B,)."""
        mean, logvar = self.mean.float(), self.logvar.float()
        if other is None:
            return 0.5 * (mean**2 + logvar.exp() - 1.0 - logvar).sum(dim=(1, 2, 3))
        if not isinstance(other, Gaussian) or other.moments.shape != self.moments.shape:
            raise InputError(f"kl: expected another Gaussian with moments of shape {tuple(self.moments.shape)}")
        other_mean, other_logvar = other.mean.float(), other.logvar.float()
        scaled = ((mean - other_mean) ** 2 + logvar.exp()) * torch.exp(-other_logvar)
        return 0.5 * (scaled - 1.0 + other_logvar - logvar).sum(dim=(1, 2, 3))

    def nll(self, x: Tensor) -> Tensor:
        """Negative log-likelihood of latents `x` (B, z, h, w), in nats summed over each image, of shape (B,)."""
        _check_shape(x, self.mean)
        mean, logvar = self.mean.float(), self.logvar.float()
        squared = (x.float() - mean) ** 2 * torch.exp(-logvar)
        return 0.5 * (math.log(2 * math.pi) + logvar + squared).sum(dim=(1, 2, 3))


class Deterministic:
    """A point, from moments of shape (B, z, h, w): the latents of a plain autoencoder.

    Mean, mode and sample are one; `std` and `kl` are 0; `nll` of anything else is infinite, of the point itself 0.
    """

    moments_per_channel = 1

    def __init__(self, moments: Tensor) -> None:
        self.moments = moments

    @property
    def mean(self) -> Tensor:
        """The latents, of shape (B, z, h, w)."""
        return self.moments

    @property
    def logvar(self) -> Tensor:
        """The lower end of the log-variance range everywhere, of shape (B, z, h, w)."""
        return torch.full_like(self.moments, LOGVAR_RANGE[0])

    @property
    def std(self) -> Tensor:
        """Zeros, of shape (B, z, h, w)."""
        return torch.zeros_like(self.moments)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """The latents; the generator is left untouched."""
        return self.moments

    def mode(self) -> Tensor:
        """The latents."""
        return self.moments

    def kl(self, other: "Deterministic | None" = None) -> Tensor:
        """Zeros of shape (B,)."""
        return self.moments.new_zeros(self.moments.shape[0], dtype=torch.float32)

    def nll(self, x: Tensor) -> Tensor:
        """0 where `x` is the point, else infinity, of shape (B,)."""
        _check_shape(x, self.moments)
        same = (x == self.moments).flatten(1).all(dim=1)
        return torch.where(same, 0.0, math.inf)


def _check_shape(x: Tensor, mean: Tensor) -> None:
    if x.shape != mean.shape:
        raise InputError(f"nll: expected latents of shape {tuple(mean.shape)}, got {tuple(x.shape)}")


Posterior = Gaussian | Deterministic
LATENTS: dict[str, type[Posterior]] = {"gaussian": Gaussian, "deterministic": Deterministic}
