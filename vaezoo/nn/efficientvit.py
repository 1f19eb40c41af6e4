"""EfficientViT layers: attention whose cost grows with the number of positions, then gated convolutions.

Source: Cai et al. 2023 (arXiv:2205.14756); mit-han-lab/efficientvit `efficientvit/models/nn/ops.py`.
"""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.nn.layers import ACTIVATIONS, Act, damp
from vaezoo.nn.norms import Norm
from vaezoo.specs.check import Between

HeadChannels = Annotated[int, Between(1, 1_024)]
Kernels = tuple[Annotated[int, Between(1, 31)], ...]
FLOOR = 1e-15  # keeps a row of attention from dividing by zero


class EfficientViTLayer(nn.Sequential):
    """Linear attention, then gated convolutions: (B, C, H, W) -> the same shape.

    Args:
        channels: C.
        head_channels: Channels of one attention head; must divide `channels`.
        kernels: Kernel sizes, odd, of further queries, keys and values gathered from around each position.
        expand: The gated convolutions are this many times as wide.
        norm: The norm and its settings.
        act: A key of `layers.ACTIVATIONS`, of the gated convolutions.
    """

    def __init__(
        self,
        channels: int,
        *,
        head_channels: int,
        kernels: tuple[int, ...],
        expand: int,
        norm: Norm,
        act: Act,
    ) -> None:
        super().__init__()
        norms = [norm.build(channels) for _ in range(2)]
        self.attention = LinearAttention(channels, head_channels, kernels, norms[0])
        self.convs = GatedConvs(channels, expand, act, norms[1])


class LinearAttention(nn.Module):
    """ReLU attention over all positions, with its norm and residual: (B, C, H, W) -> the same shape.

    Keys and values are summed over positions before queries meet them; where there are no more positions than
    `head_channels`, the scores themselves are cheaper and are used, as in training. Sums are in float32.
    """

    def __init__(self, channels: int, head_channels: int, kernels: tuple[int, ...], norm: nn.Module) -> None:
        super().__init__()
        if channels % head_channels:
            raise ValueError(f"head_channels {head_channels} does not divide {channels} channels")
        self.head_channels = head_channels
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.gather = nn.ModuleList(Gather(3 * channels, head_channels, kernel) for kernel in kernels)
        self.proj = nn.Conv2d(channels * (1 + len(kernels)), channels, 1, bias=False)
        self.norm = damp(norm)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        qkv = self.qkv(x)
        qkv = torch.cat([qkv, *(gather(qkv) for gather in self.gather)], dim=1)
        q, k, v = qkv.view(b, -1, 3 * self.head_channels, h * w).chunk(3, dim=2)  # (B, heads, C / heads, positions)
        attend = linear_attention if h * w > self.head_channels else quadratic_attention
        mixed = attend(F.relu(q), F.relu(k), v).to(x.dtype)
        return x + self.norm(self.proj(mixed.reshape(b, -1, h, w)))


class Gather(nn.Sequential):
    """Queries, keys and values of a neighbourhood, head by head: (B, channels, H, W) -> the same shape."""

    def __init__(self, channels: int, head_channels: int, kernel: int) -> None:
        if kernel % 2 == 0:
            raise ValueError(f"kernels has an even one, {kernel}; only an odd one keeps height and width")
        around = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)
        super().__init__(around, nn.Conv2d(channels, channels, 1, groups=channels // head_channels, bias=False))


def linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention in linear time, in float32; q, k, v and the result are of shape (B, heads, channels, positions)."""
    q, k, v = q.float(), k.float(), F.pad(v.float(), (0, 0, 0, 1), value=1.0)  # the last row of v sums the scores
    mixed = (v @ k.transpose(-1, -2)) @ q
    return mixed[:, :, :-1] / (mixed[:, :, -1:] + FLOOR)


def quadratic_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same function by way of the scores of all pairs of positions."""
    scores = (k.transpose(-1, -2) @ q).float()
    return v @ (scores / (scores.sum(dim=2, keepdim=True) + FLOOR)).to(v.dtype)


class GatedConvs(nn.Module):
    """1x1 and depthwise 3x3 convolutions, half of them gating the other, with norm and residual; keeps the shape."""

    def __init__(self, channels: int, expand: int, act: str, norm: nn.Module) -> None:
        super().__init__()
        wide = 2 * expand * channels
        self.act = ACTIVATIONS[act]
        self.conv1 = nn.Conv2d(channels, wide, 1)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.conv3 = nn.Conv2d(wide // 2, channels, 1, bias=False)
        self.norm = damp(norm)

    def forward(self, x: Tensor) -> Tensor:
        h, gate = self.conv2(self.act(self.conv1(x))).chunk(2, dim=1)
        return x + self.norm(self.conv3(h * self.act(gate)))
