"""The Fréchet distance between two sets of features, from moments that are streamed."""

import torch
from torch import Tensor

from vaezoo.errors import InputError


class Moments:
    """Count, mean and covariance of a stream of feature vectors, in float64.

    Batches are joined by their means and scatter matrices, not by sums of squares, so that an offset costs no digits.

    Source: Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(0, dtype=torch.float64)
        self.scatter = torch.zeros(0, 0, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """Take in a batch of shape (N, D)."""
        batch, x = Moments(), features.detach().cpu().double()
        batch.count, batch.mean = len(x), x.mean(dim=0)
        centred = x - batch.mean
        batch.scatter = centred.T @ centred
        self.merge(batch)

    def merge(self, other: "Moments") -> None:
        """Take in what another stream has seen."""
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
        """Of shape (D, D), divided by one less than the count, as the reference implementations do."""
        return self.scatter / (self.count - 1)


def frechet_distance(a: Moments, b: Moments) -> float:
    """|mean difference|^2 + Tr(A + B - 2 (A B)^(1/2)) of two Gaussians with these moments; 0 where they agree.

    Args:
        a: Moments of at least two feature vectors.
        b: The same, of as many features.

    Raises:
        InputError: If there are fewer than two vectors, or the numbers of features differ.

    Source: Dowson and Landau 1982; Heusel et al. 2017 (arXiv:1706.08500), whose FID this is on Inception features.
    """
    if min(a.count, b.count) < 2 or a.mean.shape != b.mean.shape:
        text = f"{a.count} vectors of {len(a.mean)} features and {b.count} of {len(b.mean)}"
        raise InputError(f"frechet_distance: {text}; expected two or more of the same number of features")
    # Tr (A B)^(1/2) is the sum of singular values of A^(1/2) B^(1/2): no root of a matrix that is not symmetric, and
    # where there are fewer images than features the zeros stay zeros
    shared = torch.linalg.svdvals(_root(a.covariance) @ _root(b.covariance)).sum()
    spread = a.covariance.trace() + b.covariance.trace() - 2 * shared
    return ((a.mean - b.mean).square().sum() + spread).clamp(min=0).item()


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root; rounding leaves eigenvalues a little below 0, which count as 0."""
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
