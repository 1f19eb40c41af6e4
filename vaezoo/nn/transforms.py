"""Blocks without weights: changes of the range of values, and Haar wavelets."""

from fractions import Fraction
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from vaezoo.nn.base import Block
from vaezoo.specs.marks import Between

Finite = Annotated[float, Between(-1e6, 1e6)]
Levels = Annotated[int, Between(1, 4)]


class Rescale(Block):
    """x * gain + offset, such as from [-1, 1] to [0, 1]: (B, in_channels, H, W) -> the same shape.

    Args:
        in_channels: Number of input channels.
        gain: Factor of the values.
        offset: Added after the multiplication.
    """

    def __init__(self, in_channels: int, *, gain: Finite, offset: Finite) -> None:
        super().__init__()
        self.out = in_channels
        self.gain, self.offset = gain, offset

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain + self.offset


class Clamp(Block):
    """limit * tanh(x / limit), a soft clamp to [-limit, limit]: (B, in_channels, H, W) -> the same shape.

    Args:
        in_channels: Number of input channels.
        limit: Largest absolute value of the result.

    Source: madebyollin/taesd@5cccb12d `taesd.py`, `Clamp`.
    """

    def __init__(self, in_channels: int, *, limit: Annotated[float, Between(1e-3, 1e6)]) -> None:
        super().__init__()
        self.out = in_channels
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / self.limit) * self.limit


class Haar(Block):
    """Haar wavelet transform, `levels` times: (B, C, H, W) -> (B, C * 4^levels, H / 2^levels, W / 2^levels).

    Each level turns 2x2 pixels into their mean and three differences. The result has the means of all channels first,
    then top minus bottom, left minus right, and diagonal minus diagonal.

    Args:
        in_channels: C, the number of input channels.
        levels: Number of times the transform is applied.

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


class InverseHaar(Block):
    """The inverse of `haar`: (B, C, H, W) -> (B, C / 4^levels, H * 2^levels, W * 2^levels).

    Args:
        in_channels: C, the number of input channels, a multiple of 4^levels.
        levels: Number of times the transform is applied.

    Source: NVIDIA/Cosmos-Tokenizer `cosmos_tokenizer/modules/patching.py`, `UnPatcher`, "haar".
    """

    def __init__(self, in_channels: int, *, levels: Levels) -> None:
        super().__init__()
        if in_channels % 4**levels:
            raise ValueError(f"{in_channels} channels are not a multiple of {4**levels}, as {levels} levels require")
        self.levels = levels
        self.out = in_channels // 4**levels
        self.scale = Fraction(2**levels)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.levels):
            x = F.pixel_shuffle(torch.stack(_butterfly(*x.chunk(4, dim=1)), dim=2).flatten(1, 2), 2)
        return x


def _butterfly(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums and differences of four tensors: turn pixels (a b over c d) into wavelets, and wavelets into pixels."""
    return a + b + c + d, a + b - c - d, a - b + c - d, a - b - c + d
