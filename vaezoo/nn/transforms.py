"""Rows without weights: changes of range, and wavelets."""

from fractions import Fraction
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.specs.check import Between

Finite = Annotated[float, Between(-1e6, 1e6)]
Levels = Annotated[int, Between(1, 4)]


class Rescale(nn.Module):
    """x * gain + offset, such as from [-1, 1] to [0, 1]: (B, in_channels, H, W) -> the same shape.

    Args:
        in_channels: Channels leaving the previous row.
        gain: The factor.
        offset: What is added then.
    """

    scale = Fraction(1)

    def __init__(self, in_channels: int, *, gain: Finite, offset: Finite) -> None:
        super().__init__()
        self.out = in_channels
        self.gain, self.offset = gain, offset

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain + self.offset


class Clamp(nn.Module):
    """limit * tanh(x / limit), which keeps values within [-limit, limit]: (B, in_channels, H, W) -> the same shape.

    Args:
        in_channels: Channels leaving the previous row.
        limit: The largest magnitude.

    Source: madebyollin/taesd@5cccb12d `taesd.py`, `Clamp`.
    """

    scale = Fraction(1)

    def __init__(self, in_channels: int, *, limit: Annotated[float, Between(1e-3, 1e6)]) -> None:
        super().__init__()
        self.out = in_channels
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / self.limit) * self.limit


class Haar(nn.Module):
    """Haar wavelets, `levels` times: (B, C, H, W) -> (B, C * 4^levels, H / 2^levels, W / 2^levels).

    Each level turns 2x2 pixels into their mean and three differences: the means of all channels first, then top minus
    bottom, left minus right, and diagonal minus diagonal.

    Args:
        in_channels: C, channels leaving the previous row.
        levels: How many times.

    Source: NVIDIA/Cosmos-Tokenizer `cosmos_tokenizer/modules/patching.py`, `Patcher`, "haar".
    """

    def __init__(self, in_channels: int, *, levels: Levels) -> None:
        super().__init__()
        self.levels = levels
        self.out = in_channels * 4**levels
        self.scale = Fraction(1, 2**levels)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.levels):
            x = torch.cat(_butterfly(*F.pixel_unshuffle(x, 2).unflatten(1, (-1, 4)).unbind(2)), dim=1) / 4
        return x


class InverseHaar(nn.Module):
    """The inverse of `haar`: (B, C, H, W) -> (B, C / 4^levels, H * 2^levels, W * 2^levels).

    Args:
        in_channels: C, channels leaving the previous row, a multiple of 4^levels.
        levels: How many times.

    Source: NVIDIA/Cosmos-Tokenizer `cosmos_tokenizer/modules/patching.py`, `UnPatcher`, "haar".
    """

    def __init__(self, in_channels: int, *, levels: Levels) -> None:
        super().__init__()
        if in_channels % 4**levels:
            raise ValueError(f"{in_channels} channels are no multiple of {4**levels}, which {levels} levels need")
        self.levels = levels
        self.out = in_channels // 4**levels
        self.scale = Fraction(2**levels)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.levels):
            x = F.pixel_shuffle(torch.stack(_butterfly(*x.chunk(4, dim=1)), dim=2).flatten(1, 2), 2)
        return x


def _butterfly(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums and differences of four: of pixels (a b over c d) the wavelets, and of wavelets the pixels."""
    return a + b + c + d, a + b - c - d, a - b + c - d, a - b - c + d
