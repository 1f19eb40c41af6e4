"""What the classes of this package share: how a `config.json` of diffusers is spelt, and how rows are read back.

A module per family holds dataclasses named after the classes of diffusers. Their fields are the keys that shape the
network or its latents, with the defaults of diffusers 0.42, so that what an older config leaves out means what it means
there. Each has `network`, plain data for the checker of specs; `stats`; and `problem`, what no single key shows.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from vaezoo.nn.layers import Layers, Width
from vaezoo.specs.marks import Between
from vaezoo.specs.model import BlockSpec, ModelSpec
from vaezoo.specs.stats import LatentStats, Positive

ACTS = {"silu": "silu", "swish": "silu", "relu": "relu"}

Act = Annotated[str, ACTS]
Latent = Annotated[int, Between(1, 16_384)]
Widths = tuple[Width, ...]
Depths = tuple[Layers, ...]
Depth = Annotated[int, Between(1, 63)]  # a decoder's levels have one layer more
Floats = tuple[float, ...]
Scale = Annotated[float, Positive] | None
Never = Literal[False]
Off = type(None)

MAX_LEVELS = 32


class Keys(ABC):
    """Base of the dataclasses; `IGNORED` are keys that diffusers writes but that change no result of ours."""

    IGNORED: ClassVar[tuple[str, ...]] = ("sample_size", "force_upcast")

    @abstractmethod
    def problem(self) -> str | None:
        """What is wrong with the keys together, as `key: what, and what is wanted`; None if nothing is."""

    @abstractmethod
    def network(self) -> dict[str, Any]:
        """The network as a YAML file would say it; only where there is no `problem`."""

    @abstractmethod
    def stats(self) -> LatentStats | None:
        """The latent statistics that diffusers' own pipelines take from these keys."""


def uneven(keys: Keys, *names: str) -> str | None:
    """The problem of lists that must have one item per level, and do not."""
    lengths = {name: len(getattr(keys, name)) for name in names}
    levels = lengths[names[0]]
    if not 1 <= levels <= MAX_LEVELS:
        return f"{names[0]}: {levels:,} levels; 1 to {MAX_LEVELS} are read"
    for name, length in lengths.items():
        if length != levels:
            return f"{name}: {length:,} items, but {names[0]} has {levels}; both have one for each level"
    return None


def other_image(given: int, returned: int) -> str | None:
    """The problem of an image that comes out with other channels than it goes in with."""
    if given == returned:
        return None
    return f"out_channels: {returned}, but in_channels is {given}; a network here gives back what it takes"


def rows_of(half: Iterable[BlockSpec], block: str) -> list[dict[str, Any]]:
    """The arguments of the rows of one kind of block."""
    return [row.arguments for row in half if row.block == block]


def first(rows: list[dict[str, Any]], key: str) -> Any:
    """The first row's value of a key; None where there is none."""
    return rows[0].get(key) if rows else None


def channels_of(spec: ModelSpec) -> dict[str, int]:
    """The keys for the channels at the ends, as most classes call them."""
    image = spec.image.channels
    return {"in_channels": image, "out_channels": image, "latent_channels": spec.latent.channels}


def scaling_of(stats: LatentStats | None) -> float | None:
    """`scaling_factor` for some statistics; without any it is 1, since no key can say that nothing was measured."""
    if stats is None or (stats.scale is None and stats.mean is not None):
        return 1.0
    return stats.scale
