"""Latent statistics: how latents of one set of weights are normalized for a diffusion model."""

import math
from dataclasses import asdict, dataclass
from typing import Annotated

from vaezoo.errors import SpecError
from vaezoo.specs.marks import Between

Positive = Between(1e-6, 1e6)
NotNegative = Between(0.0, 1e12)
Size = Between(1, 65_536)


@dataclass(frozen=True, kw_only=True)
class LatentStats:
    """The statistics that normalize the latents of one set of weights.

    A latent `z` becomes `(z - mean) / std`, times `scale` if there is one; without `mean` it becomes
    `(z - shift) * scale`. `pack` and `eps` alone mean that mean and variance are stored in the weights file (FLUX.2).

    Args:
        mean: Mean of each channel, in raw latent units.
        std: Standard deviation of each channel, 1e-6 to 1e6.
        scale: Factor of all channels, 1e-6 to 1e6.
        shift: Subtracted from all channels.
        var: Variance of each channel, as in a batch norm, in place of `std`, which is then `sqrt(var + eps)`.
        eps: Added to `var`.
        pack: Side of the patches, 2 to 16, that are first packed into channels (channel by channel, row by row); the
            statistics are those of the packed channels.
        size: Pixels per side of the images that they were measured on; `None` if unknown. It changes no result: it
            tells how far images of another size are from those measured (docs/latents.md).

    Examples:
        >>> import vaezoo
        >>> vaezoo.LatentStats(scale=0.5, shift=0.25).gain
        (0.5,)
    """

    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Positive], ...] | None = None
    scale: Annotated[float, Positive] | None = None
    shift: float | None = None
    var: tuple[Annotated[float, NotNegative], ...] | None = None
    eps: Annotated[float, Between(1e-12, 1.0)] | None = None
    pack: Annotated[int, Between(2, 16)] | None = None
    size: Annotated[int, Size] | None = None

    def check(self, channels: int, location: str) -> None:
        """Raise `SpecError` unless the statistics are valid.

        Args:
            channels: Channels of a latent.
            location: Origin of the statistics, for the message.
        """
        if fault := self._fault(channels * (self.pack or 1) ** 2):
            raise SpecError(f"{location}: latent_stats{fault}")

    @property
    def in_file(self) -> bool:
        """Whether mean and variance are stored in the weights file."""
        return self.pack is not None and self.mean is None and self.scale is None

    @property
    def offset(self) -> tuple[float, ...]:
        """The values subtracted from a latent: one, or one per channel."""
        return self.mean if self.mean is not None else (self.shift or 0.0,)

    @property
    def gain(self) -> tuple[float, ...]:
        """The factors of the difference: one, or one per channel."""
        scale = 1.0 if self.scale is None else self.scale
        if self.var is not None:
            return tuple(scale / math.sqrt(var + (self.eps or 0.0)) for var in self.var)
        return tuple(scale / std for std in self.std) if self.std is not None else (scale,)

    def to_dict(self) -> dict[str, object]:
        """Return the statistics as plain data, without those that are `None`."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items() if v is not None}

    def _fault(self, channels: int) -> str | None:
        spread = [value for value in (self.std, self.var) if value is not None]
        if self.in_file:
            return None if self.eps and not spread and self.shift is None else " needs only eps beside pack"
        if (self.mean is None) != (not spread) or (self.mean is None and self.scale is None):
            return " needs mean and std, or scale (with shift, if it is not 0)"
        if len(spread) > 1 or (self.var is None) != (self.eps is None):
            return " needs std, or var and eps"
        if self.mean is not None and self.shift is not None:
            return " has both mean and shift; add the shift to the mean"
        if any(not Positive.low <= value <= Positive.high for value in (*(self.std or ()), self.scale or 1.0)):
            return f".std and scale must be from {Positive.low} to {Positive.high:,}"
        if any(not 0 <= value <= NotNegative.high for value in (*(self.var or ()), self.eps or 1.0)):
            return f".var and eps must be from 0 to {NotNegative.high:,}"
        if not all(math.isfinite(value) for value in (*(self.mean or ()), self.shift or 0.0)):
            return ".mean and shift must be finite"
        if self.size is not None and not Size.low <= self.size <= Size.high:
            return f".size must be from {Size.low} to {Size.high:,}"
        for name in ("mean", "std", "var"):
            values = getattr(self, name)
            if values is not None and len(values) != channels:
                return f".{name} has {len(values)} values for {channels} latent channels"
        return None
