"""Shortcuts without weights between widths: channels averaged in groups, or repeated.

Source: Chen et al. 2024, DC-AE (arXiv:2410.10733), "Residual Autoencoding".
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated

from torch import Tensor


def average(x: Tensor, channels: int) -> Tensor:
    """(B, C, H, W) -> (B, channels, H, W): the mean of each C / `channels` neighbouring channels."""
    return x.unflatten(1, (channels, -1)).mean(dim=2)


def duplicate(x: Tensor, channels: int) -> Tensor:
    """(B, C, H, W) -> (B, channels, H, W): each channel `channels` / C times in a row."""
    return x.repeat_interleave(channels // x.shape[1], dim=1)


def check_multiple(larger: int, smaller: int) -> None:
    """Raise `ValueError` unless one width is a multiple of the other."""
    if larger % smaller:
        raise ValueError(f"{larger} channels are no multiple of {smaller}, which the resampler or shortcut needs")


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
    """The entry of the table between two widths, or None where `name` is null.

    Raises:
        ValueError: If it cannot go from one width to the other.
    """
    return None if name is None else SHORTCUTS[name](in_channels, out)
