"""The outputs and the config of `DiffusersVAE`, with the interface that pipelines of diffusers expect."""

from typing import Any, NamedTuple

from torch import Generator, Tensor

from vaezoo.nn.distributions import Deterministic, Posterior


class LatentDistribution:
    """A posterior with the interface of diffusers' `DiagonalGaussianDistribution`.

    Args:
        posterior: Distribution over raw latents of shape (B, z, h, w).
    """

    def __init__(self, posterior: Posterior) -> None:
        self.posterior = posterior

    @property
    def parameters(self) -> Tensor:
        """Moments: mean and log-variance, of shape (B, 2 * z, h, w), or the latents of a deterministic network."""
        return self.posterior.moments

    @property
    def mean(self) -> Tensor:
        """Mean, of shape (B, z, h, w)."""
        return self.posterior.mean

    @property
    def logvar(self) -> Tensor:
        """Natural logarithm of the variance, clamped to [-30, 20], of shape (B, z, h, w)."""
        return self.posterior.logvar

    @property
    def std(self) -> Tensor:
        """Standard deviation, of shape (B, z, h, w)."""
        return self.posterior.std

    @property
    def var(self) -> Tensor:
        """Variance, of shape (B, z, h, w)."""
        return self.posterior.std**2

    @property
    def deterministic(self) -> bool:
        """Whether the network is deterministic, so that every sample is the mode."""
        return isinstance(self.posterior, Deterministic)

    def sample(self, generator: Generator | None = None) -> Tensor:
        """Draw a sample of shape (B, z, h, w); `generator` may be on any device."""
        return self.posterior.sample(generator)

    def mode(self) -> Tensor:
        """The most likely latents, of shape (B, z, h, w)."""
        return self.posterior.mode()

    def kl(self, other: "LatentDistribution | None" = None) -> Tensor:
        """KL divergence from a standard normal, or from `other`, in nats per image, of shape (B,)."""
        if other is None:
            return self.posterior.kl()
        return self.posterior.kl(other.posterior)  # type: ignore[arg-type]  # raises InputError for another kind

    def nll(self, sample: Tensor) -> Tensor:
        """Negative log-likelihood of the latents `sample` (B, z, h, w), in nats per image, of shape (B,)."""
        return self.posterior.nll(sample)


class EncoderOutput(NamedTuple):
    """Output of `encode`; for deterministic networks also as `latents` and `latent`, the two names of diffusers."""

    latent_dist: LatentDistribution

    @property
    def latents(self) -> Tensor:
        """Latents of a deterministic network, of shape (B, z, h, w); others have only a distribution."""
        if not self.latent_dist.deterministic:
            raise AttributeError("a gaussian posterior has no latents: take latent_dist.sample() or latent_dist.mode()")
        return self.latent_dist.mode()

    @property
    def latent(self) -> Tensor:
        """Same as `latents`."""
        return self.latents


class DecoderOutput(NamedTuple):
    """Output of `decode`: images `sample` of shape (B, C, H, W)."""

    sample: Tensor


class DiffusersConfig(dict[str, Any]):
    """A dictionary whose entries are also attributes, like the configs of diffusers."""

    def __getattr__(self, key: str) -> Any:
        if key not in self:
            raise AttributeError(f"the config of this VAE has no {key}; it has {', '.join(self)}")
        return self[key]
