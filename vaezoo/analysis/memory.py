"""Memory of activations, counted on any device; on the meta device nothing is allocated or computed."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveBytes(TorchDispatchMode):
    """Adds up the bytes of the tensors that exist: `now`, and at most so far, `peak`.

    Args:
        ignored: Tensors that do not count, nor do views of them: the weights.
    """

    def __init__(self, ignored: list[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._ignored = {tensor.untyped_storage()._cdata for tensor in ignored}
        self._held: dict[int, weakref.ref] = {}

    def add(self, tensor: Tensor) -> None:
        """Count a tensor's memory until it is freed; what views share counts once."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._ignored or key in self._held:
            return
        self.now += size
        self.peak = max(self.peak, self.now)

        def freed(_: weakref.ref) -> None:
            self.now -= size
            del self._held[key]

        self._held[key] = weakref.ref(storage, freed)

    def __torch_dispatch__(self, function: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in tree_iter(result):
            if isinstance(value, Tensor):
                self.add(value)
        return result


class FusedAttention(TorchFunctionMode):
    """Attention that makes its result only: on the meta device PyTorch would count the scores of all pairs too."""

    def __torch_function__(self, function: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is F.scaled_dot_product_attention:
            return torch.empty_like(args[0])
        return function(*args, **(kwargs or {}))


def activation_peak(module: nn.Module, x: Tensor) -> int:
    """Bytes of all tensors that are alive at once at the worst moment of `module(x)` without gradients.

    `x` counts to the end, because its owner keeps it; so does the result. Weights do not count, nor does what a kernel
    needs inside: workspaces, copies in another memory format, the scores of a fused attention.

    Args:
        module: In eval mode, on the device of `x`.
        x: What it takes; on the meta device only shapes are followed.
    """
    live = LiveBytes([*module.parameters(), *module.buffers()])
    with torch.no_grad(), FusedAttention(), live:
        live.add(x)
        module(x)
    return live.peak
