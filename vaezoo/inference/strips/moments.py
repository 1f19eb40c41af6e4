"""Mean and variance of the channels of a map, gathered strip by strip."""

import torch
from torch import Tensor


class ChannelMoments:
    """Count, mean and sum of squared deviations of each channel of each image, in float64.

    They are merged by the formula of Chan, Golub and LeVeque 1983, which does not cancel as sums of squares do.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | None = None
        self.squares: Tensor | None = None

    def add(self, rows: Tensor) -> None:
        """Include rows of shape (B, C, H, W)."""
        count = rows.shape[-1] * rows.shape[-2]
        mean, squares = _moments(rows.float())
        self.merge(count, mean.double(), squares.double())

    def merge(self, count: int, mean: Tensor, squares: Tensor) -> None:
        """Include the moments of other positions.

        Args:
            count: Number of positions.
            mean: Their mean, of shape (B, C).
            squares: Their sum of squared deviations from that mean, of shape (B, C).
        """
        if self.mean is None or self.squares is None:
            self.count, self.mean, self.squares = count, mean, squares
            return
        total = self.count + count
        delta = mean - self.mean
        self.mean = self.mean + delta * (count / total)
        self.squares = self.squares + squares + delta.square() * (self.count * count / total)
        self.count = total

    def of_groups(self, groups: int) -> tuple[Tensor, Tensor]:
        """Mean and variance of groups of channels, each repeated for its channels: two tensors of shape (B, C)."""
        if self.mean is None or self.squares is None:
            raise AssertionError("moments of no rows")
        mean, squares = (x.unflatten(1, (groups, -1)) for x in (self.mean, self.squares))
        center = mean.mean(dim=2, keepdim=True)
        between = self.count * (mean - center).square().sum(dim=2, keepdim=True)
        variance = (squares.sum(dim=2, keepdim=True) + between) / (self.count * mean.shape[2])
        return center.expand_as(mean).flatten(1), variance.expand_as(mean).flatten(1)


def _moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and sum of squared deviations over the positions of (B, C, H, W), each of shape (B, C)."""
    variance, mean = torch.var_mean(rows, dim=(2, 3), correction=0)
    return mean, variance * (rows.shape[-1] * rows.shape[-2])
