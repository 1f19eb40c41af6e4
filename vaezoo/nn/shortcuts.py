"""Shortcuts without weights between widths: channels averaged in groups, or repeated.

Source: Chen et al. 2024, DC-AE (arXiv:2410.10733), "Residual Autoencoding".
"""

from collections.abc import Callable
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


def check_shortcut(name: str | None, in_channels: int, out: int) -> None:
    """Raise `ValueError` if a shortcut cannot go from `in_channels` to `out`."""
    if name == "average":
        check_multiple(in_channels, out)
    if name == "duplicate":
        check_multiple(out, in_channels)


SHORTCUTS: dict[str, Callable[[Tensor, int], Tensor]] = {"average": average, "duplicate": duplicate}
Shortcut = Annotated[str | None, SHORTCUTS]
