"""What one row of a benchmark measures, as checked plain data."""

from dataclasses import dataclass
from typing import Any

from vaezoo.benchmark.peers import DIFFUSERS, OURS, check_peer
from vaezoo.errors import InputError
from vaezoo.inference.optimize import fast_bf16
from vaezoo.nn.build import build
from vaezoo.nn.dtypes import DTYPES
from vaezoo.nn.schema import check_spec
from vaezoo.specs.faults import unknown
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.tree import Location, from_plain
from vaezoo.zoo.create import get_spec, usable_device

OPTIMIZABLE = ("encode", "decode", "reconstruct")
STEPS = (*OPTIMIZABLE, "train", "load")


@dataclass(frozen=True)
class BenchmarkCase:
    """One row of a benchmark.

    Args:
        network: The network as `ModelSpec.to_dict()` returns it, so that a case is plain data.
        name: Name of the network, for the row.
        implementation: `OURS`, or the peer that builds the same network with its own classes.
        what: One of `STEPS`.
        size: Pixels per side of the images; without meaning for `load`.
        batch: Number of images per step, at least 1; without meaning for `load`.
        dtype: A key of `DTYPES`. Weights have this dtype, except that a training step keeps float32 weights and
            computes under autocast.
        channels_last: Whether weights and images are in the channels_last memory format.
        device: Device to run on.
        fast: Whether the network is run by `vaezoo.optimize`, with all that makes it faster.
        tile: Height of the strips of `vaezoo.optimize` in pixels, "auto", or `None` for the whole image.
        keep_memory: Whether `fast` and `tile` keep freed memory, as in commands; otherwise the C library decides.
    """

    network: dict[str, Any]
    name: str
    implementation: str
    what: str
    size: int
    batch: int
    dtype: str
    channels_last: bool
    device: str
    fast: bool = False
    tile: int | str | None = None
    keep_memory: bool = True

    @property
    def spec(self) -> ModelSpec:
        """The network as a spec."""
        return check_spec(from_plain(self.network, Location(self.name)), self.name)


def make_case(
    name_or_spec: str | ModelSpec,
    what: str,
    size: int,
    batch: int,
    dtype: str,
    channels_last: bool | None,
    device: str,
    implementation: str = OURS,
    fast: bool = False,
    tile: int | str | None = None,
    keep_memory: bool = True,
) -> BenchmarkCase:
    """Check the arguments of a benchmark case and create it; see `BenchmarkCase` for their meaning.

    Args:
        name_or_spec: A name that `vaezoo.get_spec` takes, or a spec.
        dtype: A key of `DTYPES`, or "auto" for the choice of `vaezoo.optimize`.
        channels_last: The memory format; `None` is the choice of `vaezoo.optimize`.

    Raises:
        InputError: If an argument is invalid, or the implementation does not support the network.
        UnknownNameError: If there is no model of this name.
    """
    spec = name_or_spec if isinstance(name_or_spec, ModelSpec) else get_spec(name_or_spec)
    name = spec.label if isinstance(name_or_spec, ModelSpec) else name_or_spec
    if what not in STEPS:
        raise InputError(f"{unknown(what, STEPS, 'step')}")
    if dtype not in ("auto", *DTYPES):
        raise InputError(f"{unknown(dtype, ['auto', *DTYPES], 'dtype')}")
    if (what, dtype) == ("train", "fp16"):
        raise InputError("a training step in fp16 needs loss scaling, which is not supported; measure fp32 or bf16")
    if batch < 1:
        raise InputError(f"batch is {batch}; expected 1 or more")
    on = usable_device(device)
    if dtype == "auto":
        dtype = "bf16" if fast_bf16(on) else "fp32"
    if channels_last is None:
        channels_last = on.type == "cpu"
    if (fast or tile is not None) and what not in OPTIMIZABLE:
        raise InputError(f"{what} does not run optimized; measure it without fast and tile")
    if not keep_memory and not fast:
        raise InputError("--return-memory (keep_memory=False) applies only to --fast; add --fast, or leave it out")
    if what == "load":
        _check_load(implementation, on.type)
    else:
        build(spec, "meta").diffusion_shape(size, size)
    if implementation != OURS:
        check_peer(spec, implementation)
    plain = spec.to_dict()
    step = plain, name, implementation, what, size, batch, dtype, channels_last, device
    return BenchmarkCase(*step, fast=fast, tile=tile, keep_memory=keep_memory)


def _check_load(implementation: str, device: str) -> None:
    if device != "cpu":
        raise InputError(f"load is measured on the CPU, and the device is {device}; measure it without a device")
    if implementation not in (OURS, DIFFUSERS):
        raise InputError(f"the peer {implementation} has no folders to load; measure load with the peer diffusers")
