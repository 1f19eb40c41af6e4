"""Normalization layers, and `NormConfig`, which blocks take to build them.

Every norm maps (B, channels, H, W) to the same shape. To add one, add a class and its key in `NORMS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.specs.marks import Between, Inlined

Groups = Annotated[int, Between(1, 65_536)] | None
Eps = Annotated[float, Between(1e-12, 1.0)]


def group_norm(channels: int, groups: int | None, eps: float) -> nn.GroupNorm:
    """GroupNorm with a learned scale and bias per channel (Wu and He 2018, arXiv:1803.08494)."""
    if groups is None:
        raise ValueError("groups is null; norm: group needs their number")
    if channels % groups:
        raise ValueError(f"groups {groups} does not divide {channels} channels")
    return nn.GroupNorm(groups, channels, eps=eps)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) over the channels of each position, with a learned scale and bias per channel.

    Source: Zhang and Sennrich 2019 (arXiv:1910.07467); with a bias as in mit-han-lab/efficientvit
    `efficientvit/models/nn/norm.py`, `TritonRMSNorm2d`.
    """

    def __init__(self, channels: int, groups: int | None, eps: float) -> None:
        super().__init__()
        _check_no_groups(groups, "rms")
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.rsqrt(x.float().square().mean(dim=1, keepdim=True) + self.eps)
        return (x * scale).to(x.dtype) * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)


class L2Norm(nn.Module):
    """x * sqrt(channels) / max(|x|, eps) over the channels of each position, with a learned scale per channel.

    Source: Wan-Video/Wan2.1 `wan/modules/vae.py`, `RMS_norm`.
    """

    def __init__(self, channels: int, groups: int | None, eps: float) -> None:
        super().__init__()
        _check_no_groups(groups, "l2")
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        unit = F.normalize(x.float(), dim=1, eps=self.eps).to(x.dtype)
        return unit * x.shape[1] ** 0.5 * self.weight.view(-1, 1, 1)


class BatchNorm(nn.Module):
    """(x - running_mean) / sqrt(running_var + eps), with a learned scale and bias per channel.

    It uses the statistics stored with the weights in training mode too and never updates them, so that a reconstruction
    does not depend on the other images of the batch.

    Source: Ioffe and Szegedy 2015 (arXiv:1502.03167), the form of evaluation mode.
    """

    def __init__(self, channels: int, groups: int | None, eps: float) -> None:
        super().__init__()
        _check_no_groups(groups, "batch")
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def _check_no_groups(groups: int | None, norm: str) -> None:
    if groups is not None:
        raise ValueError(f"groups {groups} means nothing to norm: {norm}; write groups: null")


NORMS: dict[str, Callable[[int, int | None, float], nn.Module]] = {
    "group": group_norm,
    "rms": RMSNorm,
    "l2": L2Norm,
    "batch": BatchNorm,
}


@dataclass(frozen=True, kw_only=True)
class NormConfig:
    """Which norm a block uses; a row of a spec has these keys among its own.

    Args:
        norm: Key of `NORMS`.
        groups: Number of groups of a group norm, which must divide the number of channels; null for other norms.
        eps: Added to the variance or mean square before the division by its square root; `l2` uses it as the smallest
            divisor.
    """

    norm: Annotated[str, NORMS]
    groups: Groups
    eps: Eps

    def build(self, channels: int) -> nn.Module:
        """The norm as a module with fresh parameters.

        Args:
            channels: Number of channels of its input.

        Raises:
            ValueError: If `groups` does not divide `channels`, is missing, or is given to a norm without groups.
        """
        return NORMS[self.norm](channels, self.groups, self.eps)


Norm = Annotated[NormConfig, Inlined()]
