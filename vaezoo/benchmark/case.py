"""What a row of the measured panel is to measure, as checked plain data."""

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

WHAT = ("encode", "decode", "train")
OURS, DIFFUSERS = "vaezoo", "diffusers"


@dataclass(frozen=True)
class Job:
    """One row of the measured panel.

    Args:
        network: `ModelSpec.to_dict()`, so that a job is plain data.
        name: What the network is called.
        implementation: `OURS` or `DIFFUSERS`, which builds the same network from a class of its own.
        what: One of `WHAT`.
        size: Pixels per side.
        batch: Images of a step.
        dtype: A key of `DTYPES`: of the weights for encoding and decoding; a training step keeps float32 weights and
            computes in it by autocast.
        channels_last: Memory format of weights and images.
        device: Where.
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
        """The network."""
        return check_spec(from_plain(self.network, Location(self.name)), self.name)


def make_job(
    name_or_spec: str | ModelSpec,
    what: str,
    size: int,
    batch: int,
    dtype: str,
    channels_last: bool,
    device: str,
    implementation: str = OURS,
) -> Job:
    """A job whose arguments are checked.

    Raises:
        InputError: If one is not right, or the implementation does not have the network.
        UnknownNameError: If there is no such model.
    """
    spec = name_or_spec if isinstance(name_or_spec, ModelSpec) else get_spec(name_or_spec)
    name = spec.label if isinstance(name_or_spec, ModelSpec) else name_or_spec
    if what not in WHAT:
        raise InputError(f"{unknown(what, WHAT, 'step')}")
    if dtype not in DTYPES:
        raise InputError(f"{unknown(dtype, DTYPES, 'dtype')}")
    if (what, dtype) == ("train", "fp16"):
        raise InputError("a training step in fp16 would need its losses scaled; measure fp32 or bf16")
    if batch < 1:
        raise InputError(f"batch is {batch}; expected 1 or more")
    build(spec, "meta").diffusion_shape(size, size)
    usable_device(device)
    if implementation == DIFFUSERS:
        _check_peer(spec)
    return Job(spec.to_dict(), name, implementation, what, size, batch, dtype, channels_last, device)


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
