"""An executor that compiles encoder and decoder with `torch.compile`."""

from collections.abc import Callable
from types import FunctionType, MethodType

import torch
from torch import Tensor

from vaezoo.inference.executor import FASTEST
from vaezoo.inference.finite_guard import FiniteGuard
from vaezoo.inference.strip_pass import each_row
from vaezoo.nn.stack import Stack


class CompiledExecutor:
    """Runs a half as compiled by `torch.compile`, for any height and width.

    Compiling a VAE would not do this, because `encode` and `decode` are not its `forward`. One image and several have
    a graph each. On CPUs, PyTorch chooses the kernel of a float32 convolution of one image by whether its input has
    more than 20,480 elements, so that small sizes can have further graphs.

    Args:
        cast_from: Dtype of the weights before they were cast for speed; `None` if they were not.
        guard: Checks results in lower precision than float32.
    """

    def __init__(self, cast_from: torch.dtype | None, guard: FiniteGuard) -> None:
        self.cast_from, self.guard = cast_from, guard
        self._compiled: dict[str, Callable[[Tensor], Tensor]] = {}  # by the name of the half

    def __call__(self, half: Stack, x: Tensor) -> Tensor:
        """The float32 result of `half(x)` for `x` of any floating-point dtype and device."""
        if half.name not in self._compiled:
            self._compiled[half.name] = torch.compile(_own_forward(half), dynamic=True)
        weight = next(half.parameters())
        given = x.to(weight.device, weight.dtype)
        result = self._compiled[half.name](given).float()
        if torch.is_grad_enabled():
            return result
        return self.guard(half, x, result, lambda: each_row(half, given, FASTEST, fuse=False))


def _own_forward(half: Stack) -> Callable[[Tensor], Tensor]:
    """`half.forward` with code of its own.

    PyTorch keeps graphs by code and stops compiling after eight of them: all encoders and decoders of a process would
    use up this number together.
    """
    forward = Stack.forward
    code = forward.__code__.replace()
    return MethodType(FunctionType(code, forward.__globals__, closure=forward.__closure__), half)
