"""Layers that blocks are made of: convolutions, activations, skip connections and the residual layer."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as every

from vaezoo.nn.norms import Norm
from vaezoo.specs.marks import Between

Width = Annotated[int, Between(1, 65_536)]
if TYPE_CHECKING:
    Channels = int  # a row may give a name instead, but `stack` replaces it by the number before it builds the block
else:
    Channels = Width | Literal["image", "latent", "moments"]
Layers = Annotated[int, Between(1, 64)]
Heads = Annotated[int, Between(0, 1_024)]
Kernel = Annotated[int, Between(1, 31)]
Padding = Literal["zeros", "reflect", "replicate", "circular"]

DAMPING = 0.1  # initial scale of residual branches, so that a residual layer starts close to its skip connection

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x). Without gradients it overwrites `x`, because blocks only pass a tensor that they just made."""
    return F.silu(x, inplace=_may_overwrite())


def relu(x: Tensor) -> Tensor:
    """max(x, 0). Without gradients it overwrites `x`."""
    return F.relu(x, inplace=_may_overwrite())


def _may_overwrite() -> bool:
    """Whether inputs may be overwritten; not in a trace, which has to be the same with and without gradients."""
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined]  # public, though not in `__all__`
    return not (torch.is_grad_enabled() or tracing)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"silu": silu, "relu": relu}


def fresh(layer: nn.Module, x: Tensor) -> Tensor:
    """Return layer(x) as a tensor that may be overwritten: a copy if hooks see the output, because they may keep it.

    Args:
        layer: A layer that returns a new tensor.
        x: Its input.
    """
    h: Tensor = layer(x)
    own = layer._forward_hooks or layer._backward_hooks or layer._backward_pre_hooks
    of_all = every._global_forward_hooks or every._global_backward_hooks or every._global_backward_pre_hooks
    return h.clone() if own or of_all else h


def damp(layer: ModuleT) -> ModuleT:
    """Scale the initial parameters of `layer`, the last one of a residual branch, by `DAMPING` and return it."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(DAMPING)
    return layer


def bias_of(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> Tensor:
    """The bias of a layer that is known to have one."""
    return cast(Tensor, layer.bias)


class Conv(nn.Conv2d):
    """Convolution that keeps height and width: (B, in_channels, H, W) -> (B, out, H, W).

    A 1x1 convolution with `out` equal to `in_channels` is initialized to the identity.

    Args:
        in_channels: Number of input channels.
        out: Number of output channels.
        kernel: Kernel size, odd.
        padding: Padding mode.
    """

    bias: nn.Parameter

    def __init__(self, in_channels: int, out: int, kernel: int, padding: Padding = "zeros") -> None:
        if kernel % 2 == 0:
            raise ValueError(f"kernel {kernel} is even; only an odd one keeps height and width")
        super().__init__(in_channels, out, kernel, padding=kernel // 2, padding_mode=padding)
        if kernel == 1 and in_channels == out:
            with torch.no_grad():
                # torch.eye on the meta device would import PyTorch's compiler, which takes three seconds
                self.weight.zero_().flatten(1).diagonal().fill_(1)
                self.bias.zero_()


def conv_skip(in_channels: int, out: int) -> nn.Module:
    """A 1x1 convolution, even if the number of channels does not change."""
    return Conv(in_channels, out, 1)


def auto_skip(in_channels: int, out: int) -> nn.Module:
    """A 1x1 convolution if the number of channels changes, else the identity (the LDM family)."""
    return nn.Identity() if in_channels == out else Conv(in_channels, out, 1)


SKIPS: dict[str, Callable[[int, int], nn.Module]] = {"conv": conv_skip, "auto": auto_skip}

Act = Annotated[str, ACTIVATIONS]
Skip = Annotated[str, SKIPS]


class ResidualLayer(nn.Module):
    """Twice norm, activation and 3x3 convolution, plus a skip connection: (B, in_channels, H, W) -> (B, out, H, W).

    Args:
        in_channels: Number of input channels.
        out: Number of output channels; the first convolution changes their number.
        norm: Norm of the layer, with its settings.
        act: Key of `ACTIVATIONS`.
        skip: Key of `SKIPS`.
        padding: Padding mode of the 3x3 convolutions.

    Raises:
        ValueError: If the norm does not fit a number of channels.

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
        h = self.conv1(self.act(fresh(self.norm1, x)))
        h = self.act(fresh(self.norm2, h))  # on its own line, so that conv1's output is freed before conv2 allocates
        h = fresh(self.conv2, h)
        return h.add_(self.skip(x))  # in place: nothing else uses conv2's output, not even its backward pass
