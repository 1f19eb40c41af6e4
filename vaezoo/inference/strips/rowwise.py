"""Functions that compute every row of their result from the same row of their arguments."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vaezoo.inference.strips.nodes import Local, MapNode

# by name; those that reduce or reorder must keep the last two dimensions
NAMES = frozenset(
    """
    add radd sub rsub mul rmul div truediv rtruediv neg pow square sqrt rsqrt exp abs clamp sigmoid tanh relu silu gelu
    mean sum cat stack chunk unbind unflatten flatten transpose normalize batch_norm repeat_interleave float double
    half bfloat16 to type clone contiguous detach
    """.split()  # noqa: SIM905
)
GUARDS: dict[str, Callable[..., bool]] = {  # whether a call sees single rows where its shapes do not show it
    "normalize": lambda x, p=2.0, dim=1, eps=1e-12, out=None: dim == 1,
    "batch_norm": lambda x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5: not training,
}
OVERWRITING: dict[str, Callable[..., Tensor]] = {  # put the result in the place of the first argument
    "silu": partial(F.silu, inplace=True),
    "relu": partial(F.relu, inplace=True),
    "add": Tensor.add_,
}


class Slot:
    """The place of a map among the arguments of a function."""

    def __init__(self, index: int) -> None:
        self.index = index


def local(
    name: str, function: Callable[..., Any], args: Any, kwargs: dict[str, Any], device: torch.device
) -> list[MapNode] | None:
    """The results of a call; `None` if it does not compute rows from rows, as a mean over positions does not.

    Args:
        name: Name of the function, a key of `NAMES`.
        function: The function.
        args: Its arguments, with nodes in place of maps.
        kwargs: Its keyword arguments.
        device: Device of the maps.
    """
    if name in GUARDS and not GUARDS[name](*args, **kwargs):
        return None
    inputs: list[MapNode] = []
    template = _with_slots((args, {**kwargs, **({"inplace": False} if "inplace" in kwargs else {})}), inputs)
    height, width = inputs[0].shape[-2:]
    if any(node.shape[-2:] != (height, width) for node in inputs):
        return None
    sizes = {size for node in inputs for size in node.shape}
    other = tuple(size for size in range(11, 11 + 2 * len(sizes) + 2) if size not in sizes)[:2]

    def call(rows: list[Tensor], cut: Callable[[Tensor], Tensor]) -> Any:
        arguments, keywords = _filled(template, rows, cut)
        return function(*arguments, **keywords)

    def shrunk(x: Tensor) -> Tensor:
        same = x.ndim > 1 and x.shape[-2:] == (height, width)
        return x.new_empty((*x.shape[:-2], *other)) if same else x

    # at another, small size the result must change likewise, or the call depends on the size; this runs on the device
    # of the maps, because the first call on the meta device imports modules for seconds
    try:
        made = call([torch.empty((*n.shape[:-2], *other), dtype=n.dtype, device=device) for n in inputs], shrunk)
    except (RuntimeError, TypeError, IndexError):  # a shape or number among the arguments fits this size only
        return None
    several = isinstance(made, tuple | list)
    results = made if several else [made]
    if any(not isinstance(x, Tensor) or x.ndim < 3 or x.shape[-2:] != other for x in results):
        return None

    def run(index: int, rows: list[Tensor], first: int, last: int) -> Tensor:
        def cut(x: Tensor) -> Tensor:
            return x[..., first:last, :] if x.ndim > 1 and x.shape[-2] == height > 1 else x

        result = call(rows, cut)
        return result[index] if several else result

    fits = not kwargs.keys() - {"inplace"} and len({(x.dtype, x.shape[:-2]) for x in (*inputs, *results)}) == 1
    overwrite = OVERWRITING.get(name) if fits and len(inputs) == len(args) else None
    return [
        Local(
            torch.Size((*result.shape[:-2], height, width)),
            result.dtype,
            tuple(inputs),
            partial(run, index),
            None if overwrite is None else partial(_overwritten, overwrite),
        )
        for index, result in enumerate(results)
    ]


def _overwritten(function: Callable[..., Tensor], rows: list[Tensor], first: int, last: int) -> Tensor:
    return function(*rows)


def _with_slots(value: Any, inputs: list[MapNode]) -> Any:
    """`value` with slots in place of nodes, which are appended to `inputs`."""
    if isinstance(value, MapNode):
        inputs.append(value)
        return Slot(len(inputs) - 1)
    if isinstance(value, dict):
        return {key: _with_slots(item, inputs) for key, item in value.items()}
    return type(value)(_with_slots(item, inputs) for item in value) if isinstance(value, tuple | list) else value


def _filled(value: Any, rows: list[Tensor], cut: Callable[[Tensor], Tensor]) -> Any:
    """`value` with rows in place of slots, and with other tensors cut to the same rows."""
    if isinstance(value, Slot):
        return rows[value.index]
    if isinstance(value, Tensor):
        return cut(value)
    if isinstance(value, dict):
        return {key: _filled(item, rows, cut) for key, item in value.items()}
    return type(value)(_filled(item, rows, cut) for item in value) if isinstance(value, tuple | list) else value
