"""Distributions over latents, which share one interface; `LATENTS` maps `latent.kind` of a spec to a class."""

import math

import torch
from torch import Tensor

from vaezoo.errors import InputError

LOGVAR_RANGE = (-30.0, 20.0)


class Gaussian:
    """A diagonal Gaussian, whose moments are mean and log-variance.

    Args:
        moments: The output of an encoder, of shape (B, 2 * z, h, w): z channels of means, then z of log-variances. It
            is kept as it is; `logvar` and `std` are computed on access from log-variances clamped to [-30, 20].

    Source: Kingma and Welling 2014 (arXiv:1312.6114); clamp as in CompVis/latent-diffusion
    `ldm/modules/distributions/distributions.py`.
    """

    moments_per_channel = 2

    def __init__(self, moments: Tensor) -> None:
        self.moments = moments

    @property
    def mean(self) -> Tensor:
        """Mean, of shape (B, z, h, w), in raw latent units."""
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
        """A sample of shape (B, z, h, w), differentiable with respect to the moments (reparameterization).

        Args:
            generator: Random generator on any device; a CPU generator gives the same noise for every device of the
                moments. `None` means PyTorch's default generator of their device.
        """
        mean = self.mean
        device = mean.device if generator is None else generator.device
        noise = torch.randn(mean.shape, generator=generator, device=device, dtype=mean.dtype).to(mean.device)
        return mean + self.std * noise

    def mode(self) -> Tensor:
        """The most likely latents, which are the mean, of shape (B, z, h, w)."""
        return self.mean

    def kl(self, other: "Gaussian | None" = None) -> Tensor:
        """KL divergence from `other` in nats, summed over each image, of shape (B,).

        Args:
            other: A Gaussian of the same shape; `None` means the standard normal distribution.

        Raises:
            InputError: If `other` is not a Gaussian of the same shape.
        """
        mean, logvar = self.mean.float(), self.logvar.float()
        if other is None:
            return 0.5 * (mean**2 + logvar.exp() - 1.0 - logvar).sum(dim=(1, 2, 3))
        if not isinstance(other, Gaussian) or other.moments.shape != self.moments.shape:
            raise InputError(f"kl: expected another Gaussian with moments of shape {tuple(self.moments.shape)}")
        other_mean, other_logvar = other.mean.float(), other.logvar.float()
        scaled = ((mean - other_mean) ** 2 + logvar.exp()) * torch.exp(-other_logvar)
        return 0.5 * (scaled - 1.0 + other_logvar - logvar).sum(dim=(1, 2, 3))

    def nll(self, x: Tensor) -> Tensor:
        """Negative log-likelihood of latents in nats, summed over each image, of shape (B,).

        Args:
            x: Latents of shape (B, z, h, w), in raw units.

        Raises:
            InputError: If `x` has another shape.
        """
        _check_shape(x, self.mean)
        mean, logvar = self.mean.float(), self.logvar.float()
        squared = (x.float() - mean) ** 2 * torch.exp(-logvar)
        return 0.5 * (math.log(2 * math.pi) + logvar + squared).sum(dim=(1, 2, 3))


class Deterministic:
    """A point mass: the latents of a plain autoencoder.

    Args:
        moments: The output of an encoder, of shape (B, z, h, w), which is mean, mode and every sample.
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
        """The smallest log-variance, -30, everywhere, of shape (B, z, h, w)."""
        return torch.full_like(self.moments, LOGVAR_RANGE[0])

    @property
    def std(self) -> Tensor:
        """Zeros, of shape (B, z, h, w)."""
        return torch.zeros_like(self.moments)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """The latents; `generator` is not used."""
        return self.moments

    def mode(self) -> Tensor:
        """The latents."""
        return self.moments

    def kl(self, other: "Deterministic | None" = None) -> Tensor:
        """Zeros of shape (B,)."""
        return self.moments.new_zeros(self.moments.shape[0], dtype=torch.float32)

    def nll(self, x: Tensor) -> Tensor:
        """0 for images whose latents equal `x`, else infinity, of shape (B,).

        Args:
            x: Latents of shape (B, z, h, w), in raw units.

        Raises:
            InputError: If `x` has another shape.
        """
        _check_shape(x, self.moments)
        same = (x == self.moments).flatten(1).all(dim=1)
        return torch.where(same, 0.0, math.inf)


def _check_shape(x: Tensor, mean: Tensor) -> None:
    if x.shape != mean.shape:
        raise InputError(f"nll: expected latents of shape {tuple(mean.shape)}, got {tuple(x.shape)}")


Posterior = Gaussian | Deterministic
LATENTS: dict[str, type[Posterior]] = {"gaussian": Gaussian, "deterministic": Deterministic}
