"""Count operations by PyTorch's own formulas."""

from collections.abc import Callable
from typing import Any

from torch.utils.flop_counter import flop_registry

from vaezoo.analysis.dispatch_mode import DispatchMode


class CountedOperations(DispatchMode):
    """Dispatch mode that sums the operations that `FlopCounterMode` counts, without its import of `torch._dynamo`.

    Attributes:
        total: Operations so far; a multiply-accumulate counts as two.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        formula = flop_registry.get(getattr(function, "overloadpacket", None))
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result
