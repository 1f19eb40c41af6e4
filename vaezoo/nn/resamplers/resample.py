"""The interface of resamplers, and how blocks build them by name."""

from collections.abc import Callable
from fractions import Fraction
from typing import Protocol

from torch import Tensor, nn

from vaezoo.nn.layers import Padding


class Resampler(Protocol):
    """A module that multiplies height and width by `scale`."""

    scale: Fraction

    def __call__(self, x: Tensor) -> Tensor: ...


ResamplerTable = dict[str, Callable[[int, int, Padding], Resampler]]


class NoResampling(nn.Identity):
    """The identity."""

    scale = Fraction(1)


def build_resampler(
    table: ResamplerTable, name: str | None, in_channels: int, out: int | None, padding: Padding
) -> Resampler:
    """The resampler `name` of a table, or the identity if `name` is `None`; `out=None` keeps the number of channels.

    Raises:
        ValueError: If `out` is given without a `name`, or the resampler cannot be built for these arguments.
    """
    if name is None:
        if out is not None:
            raise ValueError(f"resample_out {out} needs a resample, which is null")
        return NoResampling()
    return table[name](in_channels, out or in_channels, padding)
