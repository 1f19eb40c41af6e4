"""What one row of a benchmark measures, as checked plain data."""

import importlib.util
from dataclasses import dataclass
from typing import Any

from vaezoo.errors import CheckpointError, InputError
from vaezoo.formats.diffusers.classes import config_from_spec
from vaezoo.nn.build import build
from vaezoo.nn.dtypes import DTYPES
from vaezoo.nn.schema import check_spec
from vaezoo.specs.faults import unknown
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.tree import Location, from_plain
from vaezoo.zoo.create import get_spec, usable_device

STEPS = ("encode", "decode", "train")
OURS, DIFFUSERS = "vaezoo", "diffusers"


@dataclass(frozen=True)
class BenchmarkCase:
    """One row of a benchmark.

    Args:
        network: The network as `ModelSpec.to_dict()` returns it, so that a case is plain data.
        name: Name of the network, for the row.
        implementation: `OURS` or `DIFFUSERS`, whose own class builds the same network.
        what: One of `STEPS`.
        size: Pixels per side of the images.
        batch: Number of images per step, at least 1.
        dtype: A key of `DTYPES`. Encoding and decoding run with weights of this dtype; a training step keeps float32
            weights and computes under autocast.
        channels_last: Whether weights and images are in the channels_last memory format.
        device: Device to run on.
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
    channels_last: bool,
    device: str,
    implementation: str = OURS,
) -> BenchmarkCase:
    """Check the arguments of a benchmark case and create it; see `BenchmarkCase` for their meaning.

    Args:
        name_or_spec: A name that `vaezoo.get_spec` takes, or a spec.

    Raises:
        InputError: If an argument is invalid, or the implementation does not support the network.
        UnknownNameError: If there is no model of this name.
    """
    spec = name_or_spec if isinstance(name_or_spec, ModelSpec) else get_spec(name_or_spec)
    name = spec.label if isinstance(name_or_spec, ModelSpec) else name_or_spec
    if what not in STEPS:
        raise InputError(f"{unknown(what, STEPS, 'step')}")
    if dtype not in DTYPES:
        raise InputError(f"{unknown(dtype, DTYPES, 'dtype')}")
    if (what, dtype) == ("train", "fp16"):
        raise InputError("a training step in fp16 needs loss scaling, which is not supported; measure fp32 or bf16")
    if batch < 1:
        raise InputError(f"batch is {batch}; expected 1 or more")
    build(spec, "meta").diffusion_shape(size, size)
    usable_device(device)
    if implementation == DIFFUSERS:
        _check_peer(spec)
    return BenchmarkCase(spec.to_dict(), name, implementation, what, size, batch, dtype, channels_last, device)


def _check_peer(spec: ModelSpec) -> None:
    if importlib.util.find_spec(DIFFUSERS) is None:
        raise InputError("the peer diffusers is not installed; pip install diffusers, or measure without a peer")
    try:
        kind = config_from_spec(spec)["_class_name"]
    except CheckpointError:
        kind = "none of its classes"
    if kind != "AutoencoderKL":
        raise InputError(
            f"{spec.label}: the peer is diffusers' AutoencoderKL, and this network is {kind}; measure it without a peer"
        )
