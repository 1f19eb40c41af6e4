"""The base of all config classes: the keys of a `config.json` of diffusers, and how they relate to a spec.

The other modules have a dataclass for each class of diffusers, with the same name. Its fields are the keys that shape
the network or its latents, with the defaults of diffusers 0.42, so that a key that an older config leaves out has the
meaning that it has there.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from vaezoo.nn.layers import Layers, Width
from vaezoo.specs.marks import Between
from vaezoo.specs.model import BlockSpec, ModelSpec
from vaezoo.specs.stats import LatentStats, Positive

ACTS = {"silu": "silu", "swish": "silu", "relu": "relu"}  # name in diffusers to ours

Act = Annotated[str, ACTS]
Latent = Annotated[int, Between(1, 16_384)]
Widths = tuple[Width, ...]
Depths = tuple[Layers, ...]
Depth = Annotated[int, Between(1, 63)]  # a decoder's levels have one layer more
Scale = Annotated[float, Positive] | None
Means = tuple[float, ...]
Deviations = tuple[Annotated[float, Positive], ...]
Rows = list[dict[str, Any]]

MAX_LEVELS = 32


class AutoencoderConfig(ABC):
    """The keys of one class of diffusers.

    `IGNORED` lists keys that diffusers writes but that change no result here.
    """

    IGNORED: ClassVar[tuple[str, ...]] = ("sample_size", "force_upcast")

    @abstractmethod
    def problem(self) -> str | None:
        """Return what is wrong with the keys in combination, as `key: problem`; `None` if nothing is."""

    @abstractmethod
    def network(self) -> dict[str, Any]:
        """Return the network as the plain data of a YAML file. Requires that there is no `problem`."""

    @abstractmethod
    def stats(self) -> LatentStats | None:
        """Return the latent statistics that the pipelines of diffusers take from these keys."""

    def uneven(self, *names: str) -> str | None:
        """Return the problem of lists that do not have one item for each level; the first one sets their number."""
        lengths = {name: len(getattr(self, name)) for name in names}
        levels = lengths[names[0]]
        if not 1 <= levels <= MAX_LEVELS:
            return f"{names[0]}: {levels:,} levels; must be 1 to {MAX_LEVELS}"
        for name, length in lengths.items():
            if length != levels:
                return f"{name}: {length:,} items, but {names[0]} has {levels}; both need one item for each level"
        return None

    def channel_change(self) -> str | None:
        """Return the problem of an output image with other channels than the input."""
        given, returned = getattr(self, "in_channels"), getattr(self, "out_channels")  # noqa: B009 - of the subclass
        if given == returned:
            return None
        return f"out_channels: {returned}, but in_channels is {given}; both must be equal"


class WritableConfig(AutoencoderConfig):
    """The keys of a class whose configs and weights vaezoo can also write."""

    @classmethod
    @abstractmethod
    def keys_of(cls, spec: ModelSpec, stats: LatentStats | None) -> dict[str, Any]:
        """Return the keys that a network of this class would have.

        Nothing is checked: for a network of another class the keys may be incomplete or wrong, and those that cannot be
        determined are `None`.
        """


def arguments_of(half: Iterable[BlockSpec], block: str) -> Rows:
    """Return the arguments of all rows with a given block."""
    return [row.arguments for row in half if row.block == block]


def first(rows: Rows, key: str) -> Any:
    """Return the value of a key in the first row; `None` if there is no row or no such key."""
    return rows[0].get(key) if rows else None


def channels_of(spec: ModelSpec) -> dict[str, int]:
    """Return the keys for the channels of images and latents that most classes share."""
    image = spec.image.channels
    return {"in_channels": image, "out_channels": image, "latent_channels": spec.latent.channels}


def scaling_of(stats: LatentStats | None) -> float | None:
    """Return `scaling_factor` for some statistics; 1 if there are none, because no key can express that."""
    if stats is None or (stats.scale is None and stats.mean is not None):
        return 1.0
    return stats.scale


def scaled(scale: float | None, shift: float | None = None) -> LatentStats | None:
    """Return the statistics of `scaling_factor` and `shift_factor`; `None` without a scale."""
    return None if scale is None else LatentStats(scale=scale, shift=shift or None)
