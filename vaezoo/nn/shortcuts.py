"""Shortcuts without weights between different numbers of channels: averages of groups of channels, or copies.

Source: Chen et al. 2024, DC-AE (arXiv:2410.10733), "Residual Autoencoding".
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated

from torch import Tensor


def average(x: Tensor, channels: int) -> Tensor:
    """(B, C, H, W) -> (B, channels, H, W): the mean of each C / `channels` neighboring channels."""
    return x.unflatten(1, (channels, -1)).mean(dim=2)


def duplicate(x: Tensor, channels: int) -> Tensor:
    """(B, C, H, W) -> (B, channels, H, W): `channels` / C consecutive copies of each channel."""
    return x.repeat_interleave(channels // x.shape[1], dim=1)


def check_multiple(larger: int, smaller: int) -> None:
    """Raise `ValueError` unless `larger` is a multiple of `smaller`."""
    if larger % smaller:
        raise ValueError(f"{larger} channels are not a multiple of {smaller}, as the resampler or shortcut requires")


def averaging(in_channels: int, out: int) -> Callable[[Tensor], Tensor]:
    """`average` from `in_channels` to `out`."""
    check_multiple(in_channels, out)
    return partial(average, channels=out)


def duplicating(in_channels: int, out: int) -> Callable[[Tensor], Tensor]:
    """`duplicate` from `in_channels` to `out`."""
    check_multiple(out, in_channels)
    return partial(duplicate, channels=out)


SHORTCUTS: dict[str, Callable[[int, int], Callable[[Tensor], Tensor]]] = {
    "average": averaging,
    "duplicate": duplicating,
}
Shortcut = Annotated[str | None, SHORTCUTS]


def find_shortcut(name: str | None, in_channels: int, out: int) -> Callable[[Tensor], Tensor] | None:
    """The shortcut `name` from `in_channels` to `out` channels; `None` if `name` is `None`.

    Raises:
        ValueError: If the larger number of channels is not a multiple of the smaller one.
    """
    return None if name is None else SHORTCUTS[name](in_channels, out)
