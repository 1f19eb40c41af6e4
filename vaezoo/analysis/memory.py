"""Peak memory of activations, counted on any device; on the meta device nothing is allocated or computed."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter

from vaezoo.analysis.dispatch_mode import DispatchMode
from vaezoo.analysis.meta_kernels import MetaKernels


class LiveBytes(DispatchMode):
    """Dispatch mode that counts the bytes of the tensors that are alive.

    Args:
        ignored: Tensors that are not counted, and neither are views of them, such as the weights.

    Attributes:
        now: Bytes that are alive now.
        peak: Largest value of `now` so far.
    """

    def __init__(self, ignored: list[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._ignored = {tensor.untyped_storage()._cdata for tensor in ignored}
        self._held: dict[int, weakref.ref[Any]] = {}

    def add(self, tensor: Tensor) -> None:
        """Count the memory of a tensor until it is freed; memory that tensors share counts once."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._ignored or key in self._held:
            return
        self.now += size
        self.peak = max(self.peak, self.now)

        def freed(_: weakref.ref[Any]) -> None:
            self.now -= size
            del self._held[key]

        self._held[key] = weakref.ref(storage, freed)

    def __torch_dispatch__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in tree_iter(result):
            if isinstance(value, Tensor):
                self.add(value)
        return result


class FusedAttention(TorchFunctionMode):
    """Function mode in which attention allocates only its result, as fused kernels do, unlike PyTorch's meta kernel."""

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is F.scaled_dot_product_attention:
            return torch.empty_like(args[0])
        return function(*args, **(kwargs or {}))


def activation_peak(module: nn.Module, x: Tensor) -> int:
    """Peak bytes of the tensors that are alive during `module(x)` without gradients.

    `x` and the result count, weights do not. Memory inside of kernels does not count either: workspaces, copies in
    another memory format, the scores of fused attention.

    Args:
        module: A module in eval mode, on the device of `x`.
        x: Its input; on the meta device nothing is computed.
    """
    return peak_of(module, x, [*module.parameters(), *module.buffers()])


def peak_of(function: Callable[[Tensor], object], x: Tensor, ignored: list[Tensor]) -> int:
    """Peak bytes of the tensors that are alive during `function(x)` without gradients.

    Args:
        function: A function of one tensor; what it returns counts.
        x: Its argument, which counts; on the meta device nothing is computed.
        ignored: Tensors that do not count, such as weights.
    """
    live = LiveBytes(ignored)
    with torch.no_grad(), FusedAttention(), MetaKernels(), live:
        live.add(x)
        function(x)
    return live.peak
