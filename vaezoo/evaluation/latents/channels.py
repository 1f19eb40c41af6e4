"""Statistics of latents and posteriors, per channel, over a stream of images."""

import torch
from torch import Tensor

from vaezoo.nn.distributions import Deterministic, Posterior

ACTIVE_VARIANCE = 0.01  # a channel whose posterior mean varies by less carries no information about the image


class ChannelStats:
    """Moments and correlation of the channels of a stream of (B, C, h, w) tensors, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.powers = torch.zeros(4, 1, dtype=torch.float64)  # sums of x, x^2, x^3, x^4, of shape (4, C)
        self.products = torch.zeros(1, 1, dtype=torch.float64)  # sums of x_c x_d, of shape (C, C)
        self.largest = torch.zeros(1, dtype=torch.float64)

    def add(self, x: Tensor) -> None:
        """Add a batch of shape (B, C, h, w)."""
        x = x.detach().cpu().double().movedim(1, 0).flatten(1)  # (C, B * h * w)
        self.count += x.shape[1]
        self.powers = self.powers + torch.stack([(x**n).sum(dim=1) for n in (1, 2, 3, 4)])
        self.products = self.products + x @ x.T
        self.largest = torch.maximum(self.largest, x.abs().amax(dim=1))

    def merge(self, other: "ChannelStats") -> None:
        """Add what another stream has seen."""
        self.count += other.count
        self.powers, self.products = self.powers + other.powers, self.products + other.products
        self.largest = torch.maximum(self.largest, other.largest)

    def mean(self) -> Tensor:
        """Return the mean of each channel, of shape (C,)."""
        return self.powers[0] / self.count

    def std(self) -> Tensor:
        """Return the standard deviation of each channel, of shape (C,)."""
        return (self.powers[1] / self.count - self.mean().square()).clamp(min=0).sqrt()

    def skew(self) -> Tensor:
        """Return the skewness of each channel, of shape (C,).

        It is 0 for a normal distribution and NaN for a constant channel.
        """
        mean, _, square, cube, _ = self._raw()
        return (cube - 3 * mean * square + 2 * mean**3) / self.std() ** 3

    def kurtosis(self) -> Tensor:
        """Return the excess kurtosis of each channel, of shape (C,).

        It is 0 for a normal distribution and NaN for a constant channel.
        """
        mean, _, square, cube, fourth = self._raw()
        return (fourth - 4 * mean * cube + 6 * mean**2 * square - 3 * mean**4) / self.std() ** 4 - 3

    def absmax(self) -> Tensor:
        """Return the largest absolute value of each channel, of shape (C,)."""
        return self.largest

    def correlation(self) -> Tensor:
        """Return the correlation between channels, of shape (C, C); NaN for a constant channel."""
        mean, std = self.mean(), self.std()
        return (self.products / self.count - torch.outer(mean, mean)) / torch.outer(std, std)

    def active_units(self) -> int:
        """Count the channels whose variance is above `ACTIVE_VARIANCE`.

        Source: Burda et al. 2015 (arXiv:1509.00519), with every position of a channel as one more observation of it.
        """
        return int((self.std().square() > ACTIVE_VARIANCE).sum())

    def _raw(self) -> tuple[Tensor, ...]:
        """Return the mean, and the raw moments one to four."""
        return self.mean(), *(self.powers / self.count)


class PosteriorStats:
    """KL divergence to a standard normal, and standard deviation, per channel of a stream of posteriors, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.kl_sum = torch.zeros(1, dtype=torch.float64)
        self.std_sum = torch.zeros(1, dtype=torch.float64)
        self.deterministic = False

    def add(self, posterior: Posterior) -> None:
        """Add the posterior of a batch."""
        mean, logvar, std = (t.detach().cpu().double() for t in (posterior.mean, posterior.logvar, posterior.std))
        self.deterministic = isinstance(posterior, Deterministic)
        self.count += mean.numel() // mean.shape[1]
        self.kl_sum = self.kl_sum + 0.5 * (mean**2 + logvar.exp() - 1 - logvar).sum(dim=(0, 2, 3))
        self.std_sum = self.std_sum + std.sum(dim=(0, 2, 3))

    def merge(self, other: "PosteriorStats") -> None:
        """Add what another stream has seen."""
        self.count += other.count
        self.kl_sum, self.std_sum = self.kl_sum + other.kl_sum, self.std_sum + other.std_sum
        self.deterministic = self.deterministic or other.deterministic

    def kl(self) -> Tensor | None:
        """Return nats per latent value, of shape (C,); `None` for a deterministic latent, whose KL is infinite."""
        return None if self.deterministic else self.kl_sum / self.count

    def std(self) -> Tensor:
        """Return the mean standard deviation in raw latent units, of shape (C,)."""
        return self.std_sum / self.count
