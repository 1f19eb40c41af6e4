"""Builds a VAE with random weights from its spec."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from vaezoo.errors import SpecError
from vaezoo.nn.halves import keep_half
from vaezoo.nn.own_blocks import caches_by_spec, forward_fault, is_own
from vaezoo.nn.stack import Stack, build_stack, count_params, named_channels
from vaezoo.nn.vae import VAE
from vaezoo.specs.faults import Faults
from vaezoo.specs.model import ModelSpec

PARAMETER_LIMIT = 4_000_000_000


def build(spec: ModelSpec, device: torch.device | str | None = None, part: str | None = None) -> VAE:
    """Build a VAE with random weights, in training mode.

    It is first built on the meta device, so that a network that is too large is refused before memory is allocated.

    Args:
        spec: The network.
        device: Device of the weights; `None` means PyTorch's default device.
        part: The only half to allocate, `"encoder"` or `"decoder"`; `None` means both.

    Raises:
        SpecError: If the spec cannot be built, or has more than `PARAMETER_LIMIT` parameters.
    """
    device = torch.device(device) if device is not None else default_device()
    if device.type == "meta":
        return keep_half(_build_shapes(spec), part) if part else _build_shapes(spec)
    shapes_of(spec)  # checks the size
    # inside `with device`, every operation is a Python call
    with nullcontext() if device == default_device() else device:
        if part is None:
            return VAE(spec)
        vae = keep_half(_build_shapes(spec), part)
        setattr(vae, part, build_stack(spec, part, Faults()))
        return vae


class _SkipInit(TorchFunctionMode):
    """Function mode in which the functions of `torch.nn.init` do nothing: a tensor on the meta device has no values."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(function, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
        return function(*args, **(kwargs or {}))


def _build_shapes(spec: ModelSpec) -> VAE:
    """Build a VAE on the meta device, and check its size."""
    with torch.device("meta"), _SkipInit():
        model = VAE(spec)
        _check_own_blocks(model)
    params = count_params(model)
    if params > PARAMETER_LIMIT:
        name = spec.name or spec.encoder[0].location
        raise SpecError(f"{name}: {params:,} parameters; the limit is {PARAMETER_LIMIT:,}")
    return model


def _check_own_blocks(model: VAE) -> None:
    """Raise `SpecError` if a block from outside does not map its input to the shape that it states."""
    faults, named = Faults(), named_channels(model.spec)
    halves: list[tuple[Stack, int]] = [(model.encoder, named["image"]), (model.decoder, named["latent"])]
    for stack, channels in halves:
        for index, (row, block) in enumerate(zip(getattr(model.spec, stack.name), stack, strict=True)):
            if is_own(row.block) and (fault := forward_fault(row.block, block, channels)):
                faults.add(row.location, f"{stack.name}[{index}]", fault)
            channels = block.out
    faults.check()


@lru_cache(maxsize=128)
def shapes_of(spec: ModelSpec) -> Mapping[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a network, which is built only once to find them.

    Raises:
        SpecError: As for `build`.
    """
    return MappingProxyType({name: tuple(tensor.shape) for name, tensor in _build_shapes(spec).state_dict().items()})


caches_by_spec.append(shapes_of.cache_clear)


def default_device() -> torch.device:
    """The device of new tensors; `torch.get_default_device` of PyTorch 2.6 ignores `with torch.device(…)`."""
    return torch.empty(0).device
