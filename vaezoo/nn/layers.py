"""The layers that blocks are made of: convolutions, activations, skips, the residual layer."""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.nn.norms import Norm
from vaezoo.specs.check import Between

Width = Annotated[int, Between(1, 65_536)]
Channels = Width | Literal["image", "latent", "moments"]
Layers = Annotated[int, Between(1, 64)]
Heads = Annotated[int, Between(0, 1_024)]
Kernel = Annotated[int, Between(1, 31)]
Padding = Literal["zeros", "reflect", "replicate", "circular"]

DAMPING = 0.1  # residual branches start this small: the identity first, its corrections later


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x); overwrites `x` where no gradient is wanted, because a block only passes a fresh output."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


def relu(x: Tensor) -> Tensor:
    """max(x, 0); overwrites `x` where no gradient is wanted."""
    return F.relu(x, inplace=not torch.is_grad_enabled())


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"silu": silu, "relu": relu}


def damp(layer: nn.Module) -> nn.Module:
    """Scale the initial weights of a residual branch's last layer, a norm too, by `DAMPING`."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(DAMPING)
    return layer


class Conv(nn.Conv2d):
    """A convolution that keeps height and width; 1x1 of unchanged width starts as the identity."""

    def __init__(self, in_channels: int, out: int, kernel: int, padding: str = "zeros") -> None:
        if kernel % 2 == 0:
            raise ValueError(f"kernel {kernel} is even; only an odd one keeps height and width")
        super().__init__(in_channels, out, kernel, padding=kernel // 2, padding_mode=padding)
        if kernel == 1 and in_channels == out:
            with torch.no_grad():
                # not torch.eye, which on the meta device imports PyTorch's compiler: three seconds
                self.weight.zero_().flatten(1).diagonal().fill_(1)
                self.bias.zero_()


def conv_skip(in_channels: int, out: int) -> nn.Module:
    """A 1x1 convolution around every layer, also where channels do not change."""
    return Conv(in_channels, out, 1)


def auto_skip(in_channels: int, out: int) -> nn.Module:
    """A 1x1 convolution only where channels change (the LDM family)."""
    return nn.Identity() if in_channels == out else Conv(in_channels, out, 1)


SKIPS: dict[str, Callable[[int, int], nn.Module]] = {"conv": conv_skip, "auto": auto_skip}

Act = Annotated[str, ACTIVATIONS]
Skip = Annotated[str, SKIPS]


class ResidualLayer(nn.Module):
    """Norm, act, 3x3 convolution, twice, added to a skip: (B, in_channels, H, W) -> (B, out, H, W).

    Args:
        in_channels: Channels that come in.
        out: Channels that go out; the first convolution changes the width.
        norm: The norm and its settings.
        act: A key of `ACTIVATIONS`.
        skip: A key of `SKIPS`.
        padding: What the 3x3 convolutions see beyond the edge.

    Raises:
        ValueError: If `groups` does not divide a width.

    Source: Rombach et al. 2022 (arXiv:2112.10752); order of layers as in explainingai-code/StableDiffusion-PyTorch.
    """

    def __init__(
        self,
        in_channels: int,
        out: int,
        *,
        norm: Norm,
        act: Act,
        skip: Skip,
        padding: Padding,
    ) -> None:
        super().__init__()
        self.act = ACTIVATIONS[act]
        self.norm1 = norm.build(in_channels)
        self.conv1 = Conv(in_channels, out, 3, padding)
        self.norm2 = norm.build(out)
        self.conv2 = damp(Conv(out, out, 3, padding))
        self.skip = SKIPS[skip](in_channels, out)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(self.act(self.norm1(x)))
        h = self.act(self.norm2(h))  # a line of its own: conv1's output is freed before conv2 makes its own
        h = self.conv2(h)
        return h.add_(self.skip(x))  # in place: nothing else needs conv2's output, not even its gradient
