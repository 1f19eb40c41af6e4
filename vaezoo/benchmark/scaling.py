"""How time grows with the number of pixels, from the rows of a benchmark."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SAME = ("model", "implementation", "what", "fast", "tile", "batch", "dtype", "memory_format", "device", "hardware")


@dataclass(frozen=True)
class Exponent:
    """Fit of seconds = constant * pixels ** exponent.

    Args:
        of: The conditions that the rows have in common: `SAME` to the cells.
        exponent: The exponent, by least squares of the logarithms.
        smallest: Pixels per side of the smallest image.
        largest: Pixels per side of the largest image.
    """

    of: Mapping[str, str]
    exponent: float
    smallest: int
    largest: int

    @property
    def text(self) -> str:
        """The conditions in words."""
        parts = (self.of["implementation"], path_text(self.of), self.of["dtype"], self.of["memory_format"])
        return f"{self.of['model']} {self.of['what']} ({', '.join(part for part in parts if part)})"


def path_text(row: Mapping[str, Any]) -> str:
    """How a row ran the network by `vaezoo.optimize`, in words; empty if it did not."""
    fast = {"yes": "fast", "memory returned": "fast, memory returned"}.get(row["fast"])
    strips = f"strips of {row['tile']}" if row["tile"] else None
    return ", ".join(part for part in (fast, strips) if part)


def exponents(rows: Iterable[Mapping[str, Any]]) -> list[Exponent]:
    """Fit an exponent to the rows that differ in size alone.

    Args:
        rows: Rows as measured, or as read from a CSV file. Failed rows are left out; of several rows of a size, each
            counts.

    Returns:
        The fits, one for each group of rows with two sizes or more.
    """
    groups: dict[tuple[str, ...], list[tuple[int, float]]] = defaultdict(list)
    for row in rows:
        if row["seconds"] and row["size"]:
            key = tuple("" if row[name] is None else str(row[name]) for name in SAME)
            groups[key].append((int(row["size"]), float(row["seconds"])))
    return [_fit(dict(zip(SAME, key, strict=True)), points) for key, points in groups.items() if _has_sizes(points)]


def _has_sizes(points: list[tuple[int, float]]) -> bool:
    return len({size for size, _ in points}) > 1


def _fit(of: Mapping[str, str], points: list[tuple[int, float]]) -> Exponent:
    x = [2 * math.log(size) for size, _ in points]
    y = [math.log(seconds) for _, seconds in points]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
    sizes = [size for size, _ in points]
    return Exponent(of, slope, min(sizes), max(sizes))
