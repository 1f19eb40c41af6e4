"""A tensor that stands for a feature map and computes its rows when they are needed.

The code of a network runs on it unchanged: PyTorch hands every function that receives such a tensor to
`Rows.__torch_function__`, which adds a node to a graph. Where a norm needs the statistics of a whole map, the map is
computed strip by strip.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vaezoo.inference.strips.functions import FUNCTIONS
from vaezoo.inference.strips.nodes import MapNode, of_tensor
from vaezoo.inference.strips.rowwise import NAMES, local
from vaezoo.inference.strips.strip_run import Handle, Run

METHODS = ("dim", "size", "is_floating_point", "__repr__", "__hash__")  # that need no values
ATTRIBUTES = ("shape", "dtype", "device", "ndim", "layout", "requires_grad", "grad_fn", "is_meta", "is_cuda", "is_cpu")
IN_PLACE_OPERATORS = tuple(f"__i{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"))


class Rows(Tensor):
    """A feature map of shape (B, C, H, W) whose rows are computed when they are needed."""

    run: Run
    handle: Handle

    @staticmethod
    def of(run: Run, node: MapNode, device: torch.device) -> "Rows":
        """The tensor that stands for a node."""
        made: Rows = Tensor._make_wrapper_subclass(Rows, node.shape, dtype=node.dtype, device=device)
        made.run, made.handle = run, Handle(run, node)
        return made

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "")
        if name in METHODS or (name == "__get__" and _attribute(function) in ATTRIBUTES):
            return super().__torch_function__(function, types, args, kwargs)
        found: list[Rows] = []
        nodes, options = _nodes(args, found), _nodes(kwargs, found)
        run, device = found[0].run, found[0].device
        changes = _changes_first_argument(name, kwargs)
        made = None if changes and args[0] is not found[0] else _dispatch(run, name, function, nodes, options, device)
        if made is None:
            run.whole.append(name)
            if changes and isinstance(args[0], Rows):
                return _changed(function, args, kwargs)
            return function(*_tensors(args), **_tensors(kwargs))
        if changes:
            found[0].handle.node = made[0]
            return found[0]
        results = tuple(Rows.of(run, node, device) for node in made)
        return results if len(results) > 1 else results[0]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore
        raise NotImplementedError(f"{func} reached a map that has no values yet")


def _attribute(getter: Any) -> str:
    """The name of the attribute that a getter reads."""
    return str(getter.__self__.__name__)


def _changes_first_argument(name: str, kwargs: dict[str, Any]) -> bool:
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or bool(kwargs.get("inplace")) or name == "__setitem__" or name in IN_PLACE_OPERATORS


def _changed(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a function that changes its first argument, of which it gets a copy of the whole map."""
    target: Rows = args[0]
    others, options = _tensors(args[1:]), _tensors(kwargs)
    copy = _tensors(target).clone()
    result = function(copy, *others, **options)
    target.handle.node = of_tensor(copy)
    return target if result is copy else result


def _dispatch(
    run: Run,
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    device: torch.device,
) -> list[MapNode] | None:
    """The nodes of the results of a function of maps on a device; `None` if it needs whole maps."""
    if name in FUNCTIONS and args and isinstance(args[0], MapNode) and len(args[0].shape) == 4:
        node = FUNCTIONS[name](run, *args, **kwargs)
        made = None if node is None else [node]
    elif name.strip("_") in NAMES:
        plain = name.strip("_")
        made = local(plain, getattr(Tensor, plain, function) if name.endswith("_") else function, args, kwargs, device)
    else:
        made = None
    if made is not None:
        is_sum = name.strip("_") == "add" and all(isinstance(value, MapNode) for value in args[:2])
        for node in made:
            node.is_sum = is_sum
            run.limit_halo(node)
    return made


def _nodes(value: Any, found: list[Rows]) -> Any:
    """`value` with nodes in place of `Rows`, which are appended to `found`."""
    if isinstance(value, Rows):
        found.append(value)
        return value.handle.node
    if isinstance(value, dict):
        return {key: _nodes(item, found) for key, item in value.items()}
    return type(value)(_nodes(item, found) for item in value) if isinstance(value, tuple | list) else value


def _tensors(value: Any) -> Any:
    """`value` with whole maps in place of `Rows`."""
    if isinstance(value, Rows):
        value.run.keep_last_sum(value.handle.node)
        value.run.store(value.handle.node)
        return value.run.tensor(value.handle.node)
    if isinstance(value, dict):
        return {key: _tensors(item) for key, item in value.items()}
    return type(value)(_tensors(item) for item in value) if isinstance(value, tuple | list) else value
