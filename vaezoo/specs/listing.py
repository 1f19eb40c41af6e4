"""List the networks of the catalog by what their files state."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vaezoo.errors import InputError
from vaezoo.specs.catalog import files, match, model_file
from vaezoo.specs.parse import read_tree
from vaezoo.specs.tree import Node, short


def list_models(
    pattern: str = "*",
    *,
    exclude: str | Iterable[str] = (),
    latent_channels: int | None = None,
    downscale: int | None = None,
    min_params: int | None = None,
    max_params: int | None = None,
) -> list[str]:
    """List the names of all networks that match a pattern, in natural order.

    Args:
        pattern: Pattern with shell wildcards; "-" and "_" are the same.
        exclude: Patterns of names to leave out.
        latent_channels: Number of latent channels; `None` means any.
        downscale: Pixels per latent pixel and side; `None` means any.
        min_params: Smallest number of parameters, encoder and decoder together.
        max_params: Largest number of parameters.

    Raises:
        InputError: If a pattern is not text or a number is not a number.

    Examples:
        >>> import vaezoo
        >>> vaezoo.list_models("vae_f8_z4*", max_params=1_000_000)
        ['vae_f8_z4_micro']
    """
    numbers = {"latent_channels": latent_channels, "downscale": downscale}
    for key, value in {**numbers, "min_params": min_params, "max_params": max_params}.items():
        if value is not None and not isinstance(value, (int, float)):
            raise InputError(f"{key}={short(value)}: expected a number or None")
    names = match(files("models"), pattern, exclude)
    wanted = {key: value for key, value in numbers.items() if value is not None}
    if not wanted and min_params is None and max_params is None:
        return names  # no file is read
    known = [facts(name) for name in names]
    fitting = [f for f in known if all(getattr(f, key) == value for key, value in wanted.items())]
    return [f.name for f in fitting if _within(f.params, min_params, max_params)]


def _within(params: int | None, low: int | None, high: int | None) -> bool:
    """Whether a number of parameters is within bounds; an unknown number is within none."""
    if params is None:
        return low is None and high is None
    return (low or 0) <= params <= (math.inf if high is None else high)


class Facts(NamedTuple):
    """What the file of a network states; `None` where it states nothing.

    Args:
        name: Name of the network.
        summary: One sentence about it.
        latent_channels: Channels of a latent.
        downscale: Pixels per latent pixel and side.
        params: Parameters of encoder and decoder together.
    """

    name: str
    summary: str
    latent_channels: int | None
    downscale: int | None
    params: int | None


def facts(name: str, file: Path | None = None) -> Facts:
    """Read what the file of a network states, without checking the file; `None` finds the file."""
    tree = read_tree(file or model_file(name))

    def get(*path: str) -> object:
        node: Node | None = tree
        for key in path:
            node = node.value.get(key) if node and isinstance(node.value, dict) else None
        return node.value if node else None

    summary = get("summary")
    numbers = get("latent", "channels"), get("expect", "downscale"), get("expect", "params")
    return Facts(
        name, summary if isinstance(summary, str) else "", *(n if isinstance(n, int) else None for n in numbers)
    )
