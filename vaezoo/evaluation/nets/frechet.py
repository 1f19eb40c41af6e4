"""The Fréchet distance between two sets of features, from moments that are accumulated in a stream."""

import torch
from torch import Tensor

from vaezoo.errors import InputError


class Moments:
    """Count, mean and covariance of a stream of feature vectors, in float64.

    Batches are combined by their means and scatter matrices instead of sums of squares, so that a large mean costs no
    precision.

    Source: Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(0, dtype=torch.float64)
        self.scatter = torch.zeros(0, 0, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """Add a batch of shape (N, D)."""
        batch, x = Moments(), features.detach().cpu().double()
        batch.count, batch.mean = len(x), x.mean(dim=0)
        centered = x - batch.mean
        batch.scatter = centered.T @ centered
        self.merge(batch)

    def merge(self, other: "Moments") -> None:
        """Add what another stream has seen."""
        if other.count == 0:
            return
        if self.count == 0:
            self.count, self.mean, self.scatter = other.count, other.mean, other.scatter
            return
        total, step = self.count + other.count, other.mean - self.mean
        self.scatter = self.scatter + other.scatter + torch.outer(step, step) * (self.count * other.count / total)
        self.mean = self.mean + step * (other.count / total)
        self.count = total

    @property
    def covariance(self) -> Tensor:
        """Covariance of shape (D, D), divided by the count minus one as in the reference implementations."""
        return self.scatter / (self.count - 1)


def frechet_distance(a: Moments, b: Moments) -> float:
    """Compute the Fréchet distance |m_a - m_b|^2 + Tr(A + B - 2 (A B)^(1/2)) between two Gaussians.

    Args:
        a: Moments of at least two feature vectors.
        b: Moments of at least two feature vectors of the same dimension.

    Returns:
        The distance, at least 0; it is 0 if the moments are equal.

    Raises:
        InputError: If there are fewer than two vectors, or the dimensions differ.

    Source: Dowson and Landau 1982; Heusel et al. 2017 (arXiv:1706.08500), whose FID this is on Inception features.
    """
    if min(a.count, b.count) < 2 or a.mean.shape != b.mean.shape:
        text = f"{a.count} vectors of {len(a.mean)} features and {b.count} of {len(b.mean)}"
        raise InputError(f"frechet_distance: {text}; expected at least two of each, with the same number of features")
    # Tr (A B)^(1/2) is the sum of the singular values of A^(1/2) B^(1/2). So no root of a nonsymmetric matrix is
    # needed, and with fewer images than features the zero eigenvalues stay zero.
    shared = torch.linalg.svdvals(_root(a.covariance) @ _root(b.covariance)).sum()
    spread = a.covariance.trace() + b.covariance.trace() - 2 * shared
    return float(((a.mean - b.mean).square().sum() + spread).clamp(min=0))


def _root(covariance: Tensor) -> Tensor:
    """Return the symmetric square root; eigenvalues slightly below 0, which come from rounding, count as 0."""
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
