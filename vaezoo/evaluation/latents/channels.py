"""What the latents of a model are like, channel by channel, over a stream of images."""

import torch
from torch import Tensor

from vaezoo.nn.distributions import Deterministic, Posterior

ACTIVE_VARIANCE = 0.01  # a channel whose posterior mean varies by less says nothing about the image


class ChannelStats:
    """Mean, spread, shape and correlation of the channels of a stream of (B, C, h, w) tensors, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.powers: Tensor | float = 0.0  # sums of x, x^2, x^3, x^4, of shape (4, C)
        self.products: Tensor | float = 0.0  # sums of x_c x_d, of shape (C, C)
        self.largest: Tensor | None = None

    def add(self, x: Tensor) -> None:
        """Take in one batch."""
        x = x.detach().cpu().double().movedim(1, 0).flatten(1)  # (C, B * h * w)
        self.count += x.shape[1]
        self.powers = self.powers + torch.stack([(x**n).sum(dim=1) for n in (1, 2, 3, 4)])
        self.products = self.products + x @ x.T
        largest = x.abs().amax(dim=1)
        self.largest = largest if self.largest is None else torch.maximum(self.largest, largest)

    def merge(self, other: "ChannelStats") -> None:
        """Take in what another stream has seen."""
        if other.count == 0:
            return
        self.count += other.count
        self.powers, self.products = self.powers + other.powers, self.products + other.products
        self.largest = other.largest if self.largest is None else torch.maximum(self.largest, other.largest)

    def mean(self) -> Tensor:
        """Of shape (C,)."""
        return self.powers[0] / self.count

    def std(self) -> Tensor:
        """Of shape (C,)."""
        return (self.powers[1] / self.count - self.mean().square()).clamp(min=0).sqrt()

    def skew(self) -> Tensor:
        """Third standardised moment, 0 for a normal distribution, of shape (C,); NaN for a constant channel."""
        mean, _, square, cube, _ = self._raw()
        return (cube - 3 * mean * square + 2 * mean**3) / self.std() ** 3

    def kurtosis(self) -> Tensor:
        """Fourth standardised moment less 3, 0 for a normal distribution, of shape (C,); NaN for a constant channel."""
        mean, _, square, cube, fourth = self._raw()
        return (fourth - 4 * mean * cube + 6 * mean**2 * square - 3 * mean**4) / self.std() ** 4 - 3

    def absmax(self) -> Tensor:
        """Largest absolute value, of shape (C,)."""
        return self.largest

    def correlation(self) -> Tensor:
        """Correlation between channels, of shape (C, C); NaN for a constant channel."""
        mean, std = self.mean(), self.std()
        return (self.products / self.count - torch.outer(mean, mean)) / torch.outer(std, std)

    def active_units(self) -> int:
        """Channels whose variance is above `ACTIVE_VARIANCE`.

        Source: Burda et al. 2015 (arXiv:1509.00519), with every place of a channel as one more observation of it.
        """
        return int((self.std().square() > ACTIVE_VARIANCE).sum())

    def _raw(self) -> tuple[Tensor, ...]:
        """Mean, and the raw moments one to four."""
        return self.mean(), *(self.powers / self.count)


class PosteriorStats:
    """Per channel: KL divergence to a standard normal and standard deviation of a stream of posteriors, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.kl_sum: Tensor | float = 0.0
        self.std_sum: Tensor | float = 0.0
        self.is_point = False

    def add(self, posterior: Posterior) -> None:
        """Take in the posterior of one batch."""
        mean, logvar, std = (t.detach().cpu().double() for t in (posterior.mean, posterior.logvar, posterior.std))
        self.is_point = isinstance(posterior, Deterministic)
        self.count += mean.numel() // mean.shape[1]
        self.kl_sum = self.kl_sum + 0.5 * (mean**2 + logvar.exp() - 1 - logvar).sum(dim=(0, 2, 3))
        self.std_sum = self.std_sum + std.sum(dim=(0, 2, 3))

    def merge(self, other: "PosteriorStats") -> None:
        """Take in what another stream has seen."""
        self.count += other.count
        self.kl_sum, self.std_sum = self.kl_sum + other.kl_sum, self.std_sum + other.std_sum
        self.is_point = self.is_point or other.is_point

    def kl(self) -> Tensor | None:
        """Nats per latent value, of shape (C,); None for a point, whose divergence is infinite."""
        return None if self.is_point else self.kl_sum / self.count

    def std(self) -> Tensor:
        """Mean standard deviation, in raw latent units, of shape (C,)."""
        return self.std_sum / self.count
