"""Latent statistics: what brings the latents of one set of weights to the space a diffusion model sees."""

import math
from dataclasses import asdict, dataclass
from typing import Annotated

from vaezoo.errors import SpecError
from vaezoo.specs.marks import Between

Positive = Between(1e-6, 1e6)
NotNegative = Between(0.0, 1e12)


@dataclass(frozen=True, kw_only=True)
class LatentStats:
    """Per channel `mean` and `std`, or one `scale` and `shift`, in raw latent units.

    With `mean` and `std` a latent becomes `(z - mean) / std`, times `scale` where that is given too; without them
    `(z - shift) * scale`. `var` and `eps`, as a batch norm keeps them, stand for a `std` of `sqrt(var + eps)`. With
    `pack` p a latent is first packed to p*p times the channels and 1/p of each side, channel by channel, rows before
    columns; the statistics are those of the packed channels. `pack` and `eps` alone say that mean and variance are
    stored in the weights file (FLUX.2). Statistics belong to the weights, because they are measured.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Positive], ...] | None = None
    scale: Annotated[float, Positive] | None = None
    shift: float | None = None
    var: tuple[Annotated[float, NotNegative], ...] | None = None
    eps: Annotated[float, Between(1e-12, 1.0)] | None = None
    pack: Annotated[int, Between(2, 16)] | None = None

    def check(self, channels: int, place: str) -> None:
        """Raise `SpecError` unless these are the statistics of `channels` latent channels."""
        if fault := self._fault(channels * (self.pack or 1) ** 2):
            raise SpecError(f"{place}: latent_stats{fault}")

    @property
    def in_file(self) -> bool:
        """Whether mean and variance are to be read from the weights file."""
        return self.pack is not None and self.mean is None and self.scale is None

    @property
    def offset(self) -> tuple[float, ...]:
        """What is subtracted from a latent: one value, or one per channel."""
        return self.mean if self.mean is not None else (self.shift or 0.0,)

    @property
    def gain(self) -> tuple[float, ...]:
        """What the difference is multiplied by: one value, or one per channel."""
        scale = 1.0 if self.scale is None else self.scale
        if self.var is not None:
            return tuple(scale / math.sqrt(var + self.eps) for var in self.var)
        return tuple(scale / std for std in self.std) if self.std is not None else (scale,)

    def to_dict(self) -> dict[str, object]:
        """The statistics that are given, as plain data."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items() if v is not None}

    def _fault(self, channels: int) -> str | None:
        spread = [value for value in (self.std, self.var) if value is not None]
        if self.in_file:
            return None if self.eps and not spread and self.shift is None else " needs eps beside pack, and no more"
        if (self.mean is None) != (not spread) or (self.mean is None and self.scale is None):
            return " needs mean and std, or scale (with shift, if it is not 0)"
        if len(spread) > 1 or (self.var is None) != (self.eps is None):
            return " needs std, or var and eps"
        if self.mean is not None and self.shift is not None:
            return " has a shift beside mean; mean alone says it"
        if any(not Positive.low <= value <= Positive.high for value in (*(self.std or ()), self.scale or 1.0)):
            return f".std and scale are numbers from {Positive.low} to {Positive.high:,}"
        if any(not 0 <= value <= NotNegative.high for value in (*(self.var or ()), self.eps or 1.0)):
            return f".var and eps are numbers from 0 to {NotNegative.high:,}"
        if not all(math.isfinite(value) for value in (*(self.mean or ()), self.shift or 0.0)):
            return ".mean and shift are finite numbers"
        for name in ("mean", "std", "var"):
            values = getattr(self, name)
            if values is not None and len(values) != channels:
                return f".{name} has {len(values)} values for {channels} latent channels"
        return None
