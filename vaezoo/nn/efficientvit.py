"""EfficientViT layers: linear attention, whose cost grows with the number of positions, then gated convolutions.

Source: Cai et al. 2023 (arXiv:2205.14756); mit-han-lab/efficientvit `efficientvit/models/nn/ops.py`.
"""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from vaezoo.nn.layers import ACTIVATIONS, Act, damp, fresh
from vaezoo.nn.norms import Norm
from vaezoo.specs.marks import Between

HeadChannels = Annotated[int, Between(1, 1_024)]
Kernels = tuple[Annotated[int, Between(1, 31)], ...]
ATTENTION_EPS = 1e-15  # added to the sum of the scores before the division by it


class EfficientViTLayer(nn.Sequential):
    """Linear attention, then gated convolutions: (B, C, H, W) -> the same shape.

    Args:
        channels: C.
        head_channels: Channels of one attention head; must divide `channels`.
        kernels: Kernel sizes, odd, of the depthwise convolutions that make multi-scale queries, keys and values.
        expand: Expansion ratio of the gated convolutions.
        norm: Norm of both parts, with its settings.
        act: Key of `layers.ACTIVATIONS`, for the gated convolutions.
    """

    def __init__(
        self, channels: int, head_channels: int, kernels: tuple[int, ...], expand: int, norm: Norm, act: Act
    ) -> None:
        super().__init__()
        self.attention = LinearAttention(channels, head_channels, kernels, norm.build(channels))
        self.convs = GatedConvs(channels, expand, act, norm.build(channels))


class LinearAttention(nn.Module):
    """ReLU attention over all positions, with a norm after it and a residual connection: keeps (B, C, H, W).

    Products of keys and values are summed over all positions before they are multiplied with the queries. If there are
    at most `head_channels` positions, the scores are computed instead, as in the original. Sums are in float32.
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
        qkv = self.qkv(x)
        qkv = torch.cat([qkv, *(gather(qkv) for gather in self.gather)], dim=1)
        return x + self.norm(self.proj(mix_positions(qkv, self.head_channels)))


class Gather(nn.Sequential):
    """Depthwise, then per-head 1x1 convolutions of queries, keys and values: keeps (B, channels, H, W)."""

    def __init__(self, channels: int, head_channels: int, kernel: int) -> None:
        if kernel % 2 == 0:
            raise ValueError(f"kernels has an even one, {kernel}; only an odd one keeps height and width")
        depthwise = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)
        super().__init__(depthwise, nn.Conv2d(channels, channels, 1, groups=channels // head_channels, bias=False))


def mix_positions(qkv: Tensor, head_channels: int) -> Tensor:
    """ReLU attention over all positions: (B, 3C, H, W) -> (B, C, H, W).

    Subclasses of `Tensor` can override it, as they can override the functions of PyTorch.

    Args:
        qkv: For each head its queries, keys and values.
        head_channels: Channels of one head.
    """
    if type(qkv) is not Tensor and has_torch_function_unary(qkv):  # function modes get the calls below
        return handle_torch_function(mix_positions, (qkv,), qkv, head_channels)
    b, _, h, w = qkv.shape
    q, k, v = qkv.reshape(b, -1, 3 * head_channels, h * w).chunk(3, dim=2)  # (B, heads, C / heads, positions)
    attend = linear_attention if h * w > head_channels else quadratic_attention
    return attend(F.relu(q), F.relu(k), v).to(qkv.dtype).reshape(b, -1, h, w)


def linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention in time linear in the number of positions, computed in float32.

    Queries `q`, keys `k`, values `v` and the result have the shape (B, heads, channels per head, positions).
    """
    q, k, v = q.float(), k.float(), F.pad(v.float(), (0, 0, 0, 1), value=1.0)  # the last row of v sums the scores
    mixed = (v @ k.transpose(-1, -2)) @ q
    return mixed[:, :, :-1] / (mixed[:, :, -1:] + ATTENTION_EPS)


def quadratic_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same function as `linear_attention`, computed from the scores of all pairs of positions."""
    scores = (k.transpose(-1, -2) @ q).float()
    return v @ (scores / (scores.sum(dim=2, keepdim=True) + ATTENTION_EPS)).to(v.dtype)


class GatedConvs(nn.Module):
    """Gated linear unit of 1x1 and depthwise 3x3 convolutions, with a norm after it and a residual connection."""

    def __init__(self, channels: int, expand: int, act: str, norm: nn.Module) -> None:
        super().__init__()
        wide = 2 * expand * channels
        self.act = ACTIVATIONS[act]
        self.conv1 = nn.Conv2d(channels, wide, 1)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.conv3 = nn.Conv2d(wide // 2, channels, 1, bias=False)
        self.norm = damp(norm)

    def forward(self, x: Tensor) -> Tensor:
        h, gate = fresh(self.conv2, self.act(fresh(self.conv1, x))).chunk(2, dim=1)
        return x + self.norm(self.conv3(h * self.act(gate)))
