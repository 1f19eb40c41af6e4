"""Latent statistics: what brings the latents of one set of weights to the space a diffusion model sees."""

import math
from dataclasses import dataclass
from typing import Annotated

from vaezoo.errors import SpecError
from vaezoo.specs.check import Between

Positive = Between(1e-6, 1e6)


@dataclass(frozen=True, kw_only=True)
class LatentStats:
    """Per channel `mean` and `std`, or one `scale` and `shift`, in raw latent units.

    With `mean` and `std` a latent becomes `(z - mean) / std`, times `scale` where that is given too; without them
    `(z - shift) * scale`. They belong to the weights, because they are measured.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Positive], ...] | None = None
    scale: Annotated[float, Positive] | None = None
    shift: float | None = None

    def check(self, channels: int, place: str) -> None:
        """Raise `SpecError` unless these are the statistics of `channels` latent channels."""
        if (self.mean is None) != (self.std is None) or (self.mean is None and self.scale is None):
            raise SpecError(f"{place}: latent_stats needs mean and std, or scale (with shift, if it is not 0)")
        if self.mean is not None and self.shift is not None:
            raise SpecError(f"{place}: latent_stats has a shift beside mean; mean alone says it")
        gains = (*(self.std or ()), 1.0 if self.scale is None else self.scale)
        if any(not Positive.low <= value <= Positive.high for value in gains):
            raise SpecError(f"{place}: latent_stats.std and scale are numbers from {Positive.low} to {Positive.high:,}")
        if not all(math.isfinite(value) for value in (*(self.mean or ()), self.shift or 0.0)):
            raise SpecError(f"{place}: latent_stats.mean and shift are finite numbers")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if values is not None and len(values) != channels:
                raise SpecError(f"{place}: latent_stats.{name} has {len(values)} values for {channels} latent channels")

    @property
    def offset(self) -> tuple[float, ...]:
        """What is subtracted from a latent: one value, or one per channel."""
        return self.mean if self.mean is not None else (self.shift or 0.0,)

    @property
    def gain(self) -> tuple[float, ...]:
        """What the difference is multiplied by: one value, or one per channel."""
        scale = 1.0 if self.scale is None else self.scale
        return tuple(scale / std for std in self.std) if self.std is not None else (scale,)

    def to_dict(self) -> dict[str, object]:
        """The statistics that are given, as plain data."""
        values = {"mean": self.mean, "std": self.std, "scale": self.scale, "shift": self.shift}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if v is not None}
