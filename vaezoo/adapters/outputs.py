"""What the adapter hands to a pipeline of diffusers: latents as a distribution, images, a config."""

from typing import Any, NamedTuple

from torch import Generator, Tensor

from vaezoo.nn.distributions import Deterministic, Posterior


class LatentDistribution:
    """A posterior under the names of diffusers' distributions; latents are raw, of shape (B, z, h, w)."""

    def __init__(self, posterior: Posterior) -> None:
        self.posterior = posterior

    @property
    def parameters(self) -> Tensor:
        """The moments: mean and log-variance as channels, or the latents of a deterministic network."""
        return self.posterior.moments

    @property
    def mean(self) -> Tensor:
        """Of shape (B, z, h, w)."""
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
        """Whether sample and mode are one."""
        return isinstance(self.posterior, Deterministic)

    def sample(self, generator: Generator | None = None) -> Tensor:
        """One draw, of shape (B, z, h, w)."""
        return self.posterior.sample(generator)

    def mode(self) -> Tensor:
        """The most likely latents, of shape (B, z, h, w)."""
        return self.posterior.mode()

    def kl(self, other: "LatentDistribution | None" = None) -> Tensor:
        """KL divergence to a standard normal or to `other`, in nats per image, of shape (B,)."""
        return self.posterior.kl(None if other is None else other.posterior)

    def nll(self, sample: Tensor) -> Tensor:
        """Negative log-likelihood of latents `sample`, in nats per image, of shape (B,)."""
        return self.posterior.nll(sample)


class EncoderOutput(NamedTuple):
    """What `encode` gives; of a deterministic network also `latents` and `latent`, the two names diffusers has."""

    latent_dist: LatentDistribution

    @property
    def latents(self) -> Tensor:
        """The latents of a deterministic network; others have none, only a distribution."""
        if not self.latent_dist.deterministic:
            raise AttributeError("a gaussian posterior has no latents: take latent_dist.sample() or latent_dist.mode()")
        return self.latent_dist.mode()

    @property
    def latent(self) -> Tensor:
        """`latents`."""
        return self.latents


class DecoderOutput(NamedTuple):
    """What `decode` gives: images as `sample`, of shape (B, C, H, W)."""

    sample: Tensor


class Config(dict[str, Any]):
    """A dict whose entries are attributes too."""

    def __getattr__(self, key: str) -> Any:
        if key not in self:
            raise AttributeError(f"the config of this VAE has no {key}; it has {', '.join(self)}")
        return self[key]
