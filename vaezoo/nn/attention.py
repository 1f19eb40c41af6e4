"""Self-attention over the positions of a feature map."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from vaezoo.nn.layers import Heads, damp
from vaezoo.nn.norms import Norm


class Attention(nn.Module):
    """Multi-head self-attention over all H*W positions, with a norm before it and a residual connection.

    (B, C, H, W) -> the same shape. The (H*W)^2 matrix of scores is never held in memory, and queries, keys and values
    come from one matrix product.

    Args:
        channels: C.
        heads: Number of heads, at least 1; must divide `channels`.
        norm: Norm of the input, with its settings.

    Raises:
        ValueError: If `heads` does not divide `channels`, or the norm does not fit them.

    Source: Vaswani et al. 2017 (arXiv:1706.03762); same function as `torch.nn.MultiheadAttention` with `batch_first`.
    """

    def __init__(self, channels: int, *, heads: Heads, norm: Norm) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"heads {heads} does not divide {channels} channels")
        self.heads = heads
        self.norm = norm.build(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = damp(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + attend(self.norm(x), self.qkv, self.proj, self.heads)


def attend(x: Tensor, qkv: nn.Linear, proj: nn.Linear, heads: int) -> Tensor:
    """Multi-head self-attention over all positions of (B, C, H, W), without norm and residual connection.

    Subclasses of `Tensor` can override it, as they can override the functions of PyTorch.

    Args:
        x: The map.
        qkv: Projection from C to 3C channels: queries, keys and values.
        proj: Projection of the result.
        heads: Number of heads.
    """
    if type(x) is not Tensor and has_torch_function_unary(x):  # function modes get the calls below
        return handle_torch_function(attend, (x,), x, qkv, proj, heads)
    b, c, h, w = x.shape
    tokens = x.flatten(2).transpose(1, 2)  # (B, T, C)
    q, k, v = qkv(tokens).view(b, h * w, 3, heads, c // heads).permute(2, 0, 3, 1, 4)  # each (B, heads, T, C / heads)
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, h * w, c)
    return proj(mixed).transpose(1, 2).reshape(b, c, h, w)


def build_attention(channels: int, *, heads: Heads, norm: Norm) -> nn.Module:
    """`Attention`, or an identity if `heads` is 0."""
    return Attention(channels, heads=heads, norm=norm) if heads else nn.Identity()
