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


class MetaKernels(DispatchMode):
    """Dispatch mode in which frequent operations on the meta device only allocate their results.

    PyTorch runs a group norm there as some twenty operations written in Python, which took most of the time of counting
    costs, and imports `torch._dynamo` for sums and products, which takes seconds. The results are the same tensors.
    A mode that counts operations is entered after this one.
    """

    def __torch_dispatch__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is aten.native_group_norm.default and args[0].is_meta:
            x, groups = args[0], args[6]
            statistics = x.new_empty(len(x), groups)
            return torch.empty_like(x, memory_format=torch.contiguous_format), statistics, torch.empty_like(statistics)
        if function is aten.addmm.default and args[1].is_meta:
            return args[1].new_empty(len(args[1]), args[2].shape[1])
        if function in LIKE_FIRST and args[0].is_meta and _fits(*args[:2]):
            return torch.empty_like(args[0])
        return function(*args, **(kwargs or {}))


def _fits(x: Tensor, other: Any) -> bool:
    """Return whether the result has the shape and dtype of `x`."""
    if not isinstance(other, Tensor):
        return x.is_floating_point()
    return x.dtype == other.dtype and torch.broadcast_shapes(x.shape, other.shape) == x.shape
