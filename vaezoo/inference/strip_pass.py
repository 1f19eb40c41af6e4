"""One pass of an image through a half of a network, in strips or as it is, and the memory and work that it takes."""

import copy
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from vaezoo.analysis.memory import peak_of
from vaezoo.inference.strips.nodes import of_tensor
from vaezoo.inference.strips.rows import Rows
from vaezoo.inference.strips.strip_run import DryRun, Plan, Run
from vaezoo.nn.stack import Stack


def as_weights(stack: Stack, x: Tensor) -> Tensor:
    """`x` on the device and in the dtype of the weights."""
    weight = next(stack.parameters())
    return x.to(weight.device, weight.dtype)


def has_hooks(stack: Stack) -> bool:
    """Whether a module of the stack has a forward hook or forward pre-hook."""
    return any(module._forward_hooks or module._forward_pre_hooks for module in stack.modules())


def run_half(stack: Stack, x: Tensor, run: Run) -> Tensor:
    """The float32 result of a half, or of some of its blocks.

    Args:
        stack: Encoder or decoder.
        x: Its input, in the dtype and on the device of the weights.
        run: How to cut it into strips.
    """
    x = x.contiguous(memory_format=memory_format_of(stack))
    box: list[Tensor] = [Rows.of(run, of_tensor(x, run.rows(x.shape[-2])), x.device)]
    del x
    made = through(stack, box)
    if not isinstance(made, Rows):
        return made.float()
    node = made.handle.node
    del made  # so that only hooks can still hold it
    return run.tensor(node, torch.float32)


def run_as_it_is(stack: Stack, x: Tensor) -> Tensor:
    """The same result as that of `run_half`, computed without strips."""
    return cast(Tensor, stack(x.contiguous(memory_format=memory_format_of(stack)))).float()


def no_autocast(x: Tensor) -> torch.autocast:
    """A context without autocast, which would change the dtypes that nodes state for their results."""
    return torch.autocast(x.device.type, enabled=False)


def memory_format_of(stack: Stack) -> torch.memory_format:
    """The memory format of the weights."""
    kernels = [p for p in stack.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]  # others have both formats
    channels_last = any(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    return torch.channels_last if channels_last else torch.contiguous_format


def through(stack: Stack, box: list[Tensor]) -> Tensor:
    """The result of all blocks; `box` has the only reference to the input."""
    if stack._forward_hooks or stack._forward_pre_hooks:
        return cast(Tensor, stack(box.pop()))
    for index, block in enumerate(stack):
        box.append(stack.input_of(index, box.pop()))
        # without hooks, `forward` is called directly: then no frame holds the input while the block runs, and it can be
        # freed strip by strip
        call = block if block._forward_hooks or block._forward_pre_hooks else block.forward
        box.append(call(box.pop()))
    return box.pop()


def each_row(stack: Stack, x: Tensor, plan: Plan, fuse: bool) -> Iterator[Tensor]:
    """The whole result of each block, one after the other; the first one is `x`, the input.

    Args:
        stack: Encoder or decoder.
        x: Its input, of shape (1, C, H, W).
        plan: The strips.
        fuse: As for `StripExecutor`.
    """
    dtypes = stack.dtypes or (x.dtype,) * len(stack)
    yield x
    for index, dtype in enumerate(dtypes):
        x = run_half(cast(Stack, stack[index : index + 1]), x.to(dtype), Run(plan, fuse))
        yield x


def needed_bytes(stack: Stack, x: Tensor, plan: Plan, fuse: bool) -> int:
    """Peak memory of a pass beyond weights, from running it on the meta device.

    Args:
        stack: Encoder or decoder.
        x: Its input, of which only shape, dtype and memory format matter.
        plan: The strips.
        fuse: As for `StripExecutor`.
    """
    shadow = _shadow(stack)
    weights = [*shadow.parameters(), *shadow.buffers()]
    return peak_of(lambda image: run_half(shadow, image, Run(plan, fuse)), x.to("meta"), weights)


def values_in(stack: Stack, x: Tensor, plan: Plan, fuse: bool) -> float:
    """The number of values in all strips of a pass; arguments are those of `needed_bytes`."""
    run = DryRun(plan, fuse)
    run_half(_shadow(stack), x.to("meta"), run)
    return run.values


def _shadow(stack: Stack) -> Stack:
    """A copy on the meta device, without hooks, which would see maps without values."""
    shadow = copy.deepcopy(stack, {id(p): _on_meta(p) for p in (*stack.parameters(), *stack.buffers())})
    for module in shadow.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return shadow


def _on_meta(x: Tensor) -> Tensor:
    shape_only = torch.empty_like(x, device="meta")
    return nn.Parameter(shape_only, requires_grad=x.requires_grad) if isinstance(x, nn.Parameter) else shape_only
