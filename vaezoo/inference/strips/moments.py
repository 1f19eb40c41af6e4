"""Mean and variance of groups of channels of a map, gathered strip by strip."""

import torch
from torch import Tensor

EPS = 1e-12  # keeps the inverse of the deviation finite where all values are equal
BYTES_AT_ONCE = 1 << 20  # the result of the kernel, which nobody needs, then stays in the cache


class GroupMoments:
    """Count, mean and sum of squared deviations of each group of channels of each image, in float64.

    They are merged by the formula of Chan, Golub and LeVeque 1983, which does not cancel as sums of squares do.

    Args:
        groups: Number of groups.
    """

    def __init__(self, groups: int) -> None:
        self.groups = groups
        self.count = 0
        self.mean = self.squares = torch.zeros(())  # of shape (B, groups) as soon as there are rows

    def add(self, rows: Tensor) -> None:
        """Include rows of shape (B, C, H, W)."""
        at_once = max(BYTES_AT_ONCE // max(rows.nbytes // rows.shape[-2], 1), 1) if rows.device.type == "cpu" else None
        for part in rows.split(at_once or rows.shape[-2], dim=-2):
            b, c, h, w = part.shape
            precise = part if part.dtype == torch.float64 else part.float()
            # the kernel of the group norm has the fastest and most careful sums; its result is not needed
            _, mean, inverse = torch.native_group_norm(precise, None, None, b, c, h * w, self.groups, EPS)
            count = h * w * (c // self.groups)
            variance = (inverse.double().pow(-2) - EPS).clamp(min=0)
            self.merge(count, mean.double(), variance * count)

    def merge(self, count: int, mean: Tensor, squares: Tensor) -> None:
        """Include the moments of other positions.

        Args:
            count: Number of values in each group.
            mean: Their mean, of shape (B, groups).
            squares: Their sum of squared deviations from that mean, of the same shape.
        """
        total = self.count + count
        delta = mean - self.mean
        self.mean = self.mean + delta * (count / total)
        self.squares = self.squares + squares + delta.square() * (self.count * count / total)
        self.count = total

    def packed(self) -> Tensor:
        """Count, mean and sum of squared deviations as one tensor of shape (3, B, groups)."""
        return torch.stack([torch.full_like(self.mean, self.count), self.mean, self.squares])

    def of_channels(self, channels: int) -> tuple[Tensor, Tensor]:
        """Mean and variance of the group of each channel: two tensors of shape (B, channels)."""
        size = channels // self.groups
        return self.mean.repeat_interleave(size, dim=1), (self.squares / self.count).repeat_interleave(size, dim=1)
