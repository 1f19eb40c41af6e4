"""Plot time and memory over pixels to docs/images/performance.svg: `python scripts/plot_performance.py`.

It shows the rows of `docs/results/performance.csv` of the machine that was measured last (needs vaezoo[ablate]).
"""

from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator
from performance_tables import Rows, by_machine, how

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
OURS, THEIRS = "#1f5fa8", "#c4622d"
MARKERS = "osDv^P"


def lines_of(rows: Rows, column: str) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Return the points (pixels per side, value) of each implementation and way to run it."""
    lines: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for row in rows:
        if row[column] and row["size"]:
            label = how(row) if row["implementation"] == "vaezoo" else how(row).removeprefix("plain, ")
            lines[row["implementation"], label][int(row["size"])] = float(row[column])
    return {key: sorted(points.items()) for key, points in lines.items()}


def draw(axes: Axes, rows: Rows, column: str, title: str, unit: str) -> None:
    """Draw a panel with a line for each way to run the network."""
    markers = {OURS: iter(MARKERS * 9), THEIRS: iter(MARKERS * 9)}
    for (implementation, label), points in sorted(lines_of(rows, column).items()):
        color = OURS if implementation == "vaezoo" else THEIRS
        style = "--" if "strips" in label else "-" if "fast" in label or color == THEIRS else ":"
        marker = next(markers[color])
        axes.plot(*zip(*points, strict=True), style, color=color, marker=marker, label=f"{implementation}: {label}")
    sizes = sorted({int(row["size"]) for row in rows if row["size"]})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.set(title=title, xlabel="pixels per side", ylabel=unit)
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize=8, frameon=False)


def main() -> None:
    """Write the plot."""
    machine, rows = list(by_machine().items())[-1]
    network = max({row["model"] for row in rows}, key=[row["model"] for row in rows].count)
    rows = [row for row in rows if row["model"] == network]
    both, decode = ([row for row in rows if row["what"] == step] for step in ("reconstruct", "decode"))
    figure, (time, memory) = plt.subplots(1, 2, figsize=(11, 5.4), layout="constrained")
    draw(time, both, "seconds", f"{network}: encode and decode", "seconds (median)")
    draw(memory, decode, "peak_rss_growth_mib", f"{network}: decode", "MiB over weights (peak)")
    figure.suptitle(machine.rstrip(":"), fontsize=9, color="#555555")
    plt.rcParams["svg.hashsalt"] = "vaezoo"  # the same rows give the same file
    figure.savefig(IMAGES / "performance.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
