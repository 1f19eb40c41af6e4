"""Operations on the meta device, without PyTorch's slow decompositions of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vaezoo.analysis.dispatch_mode import DispatchMode

aten = torch.ops.aten
# operations whose result is like their first argument, if the second argument broadcasts to it
LIKE_FIRST = (
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.mul.Tensor,
    aten.mul.Scalar,
    aten.div.Tensor,
    aten._safe_softmax.default,
)

PRODUCTS = (aten.mm.default, aten.bmm.default)
IN_PLACE = (aten.silu_.default, aten.relu_.default, aten.add_.Tensor)


class MetaKernels(DispatchMode):
    """Dispatch mode in which frequent operations on the meta device only allocate their results.

    PyTorch computes most shapes there in Python: a group norm is some twenty operations, which took most of the time of
    counting costs, and sums and products import `torch._dynamo`, which takes seconds. The results are the same tensors.
    A mode that counts operations is entered after this one.
    """

    def __torch_dispatch__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is aten.native_group_norm.default and args[0].is_meta:
            x, groups = args[0], args[6]
            return x.new_empty(x.shape), x.new_empty(len(x), groups), x.new_empty(len(x), groups)
        if function is aten.addmm.default and args[1].is_meta:
            return args[1].new_empty(len(args[1]), args[2].shape[1])
        if function in IN_PLACE and args[0].is_meta and (len(args) == 1 or _fits(*args[:2])):
            return args[0]
        if function in PRODUCTS and args[0].is_meta:
            return args[0].new_empty(*args[0].shape[:-1], args[1].shape[-1])
        if function is aten.convolution.default and (shape := _convolved(*args)):
            return args[0].new_empty(shape)
        if function in LIKE_FIRST and args[0].is_meta and _fits(*args[:2]):
            return _empty_like(args[0])
        return function(*args, **(kwargs or {}))


def _empty_like(x: Tensor) -> Tensor:
    """Return `torch.empty_like(x)`, which is a Python function on the meta device."""
    return x.new_empty(x.shape) if x.is_contiguous() else torch.empty_like(x)


def _fits(x: Tensor, other: Any) -> bool:
    """Return whether the result has the shape and dtype of `x`."""
    if not isinstance(other, Tensor):
        return x.is_floating_point()
    fits = all(side in (1, n) for side, n in zip(reversed(other.shape), reversed(x.shape), strict=False))
    return x.dtype == other.dtype and other.ndim <= x.ndim and fits


def _convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> tuple[int, ...]:
    """Return the shape of a convolution of contiguous maps on the meta device; `()` leaves the others to PyTorch."""
    into = weight.shape[0] if transposed else weight.shape[1] * groups
    if not x.is_meta or x.ndim != weight.ndim or x.shape[1] != into or not x.is_contiguous():
        return ()
    sides = []
    for n, kernel, s, p, d, more in zip(
        x.shape[2:], weight.shape[2:], stride, padding, dilation, output_padding, strict=True
    ):
        span = d * (kernel - 1) + 1
        sides.append((n - 1) * s - 2 * p + span + more if transposed else (n + 2 * p - span) // s + 1)
    return (len(x), weight.shape[1] * groups if transposed else len(weight), *sides) if min(sides) > 0 else ()
