"""The plots of a report, each as the text of an SVG file."""

import io
from collections.abc import Callable, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaezoo.ablation.plan import AblationPlan
from vaezoo.ablation.run_results import TRAIN
from vaezoo.ablation.summary import Summary
from vaezoo.training.log import read_log

STYLE = {
    "svg.hashsalt": "vaezoo",  # equal plots are equal files
    "svg.fonttype": "none",
    "font.size": 11,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}
WIDTH, HEIGHT = 5.0, 3.6  # inches: small, so that text stays readable on a phone
LINE = 0.19  # inches of a line of text
NAMED = 6  # points of a plot that all have their names beside them
DASHES = ("-", "--", ":", "-.")  # after ten variants colours come again


def draw_all(plan: AblationPlan, found: Sequence[Summary]) -> dict[str, tuple[str, str]]:
    """Name of each plot -> its title and SVG; only those that there are values for."""
    size, trained = plan.ablation.sizes[0], [each for each in found if each.rows]
    column, label = _speed(plan)
    plots: dict[str, tuple[str, Callable[[Axes], None]]] = {}
    if trained:
        plots["psnr"] = ("PSNR of each seed, and their mean", lambda axes: _dots(axes, trained))
        gmacs = [each.costs[f"gmacs_{size}"] for each in trained]
        plots["quality_gmacs"] = (
            "Quality against compute",
            lambda axes: _pareto(axes, trained, gmacs, f"GMACs at {size}x{size}", least=True),
        )
        latent = [latent_values(each, size) for each in trained]
        plots["quality_latent"] = (
            "Quality against latent size",
            lambda axes: _pareto(axes, trained, latent, f"numbers in the latent of {size}x{size}", least=True),
        )
        if any(speed := [each.costs[column] for each in trained] if column else []):
            plots["quality_speed"] = (
                "Quality against measured speed",
                lambda axes: _pareto(axes, trained, speed, label, least=False),
            )
        plots["curves_psnr"] = ("PSNR over the steps", lambda axes: _curves(axes, plan, trained, "psnr", "PSNR (dB)"))
        plots["curves_loss"] = (
            "Training loss over the steps",
            lambda axes: _curves(axes, plan, trained, "loss", "loss"),
        )
    else:
        plots["gmacs"] = (f"GMACs at {size}x{size}", lambda axes: _bars(axes, found, f"gmacs_{size}", "GMACs"))
        plots["params"] = ("Parameters", lambda axes: _bars(axes, found, "params", "parameters"))
        if column and any(each.costs[column] for each in found):
            plots["speed"] = ("Measured speed", lambda axes: _bars(axes, found, column, label))
    return {name: (title, _svg(draw, title)) for name, (title, draw) in plots.items()}


def latent_values(summary: Summary, size: int) -> int:
    """How many numbers the latent of an image has."""
    return summary.costs["latent_channels"] * (size // summary.costs["downscale"]) ** 2


def _svg(draw: Callable[[Axes], None], title: str) -> str:
    text = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        figure.savefig(text, format="svg", metadata={"Date": None, "Title": title})
    return text.getvalue()


def _speed(plan: AblationPlan) -> tuple[str, str]:
    """The column of speeds that is plotted and its label, of decoding if that was measured; empty where nothing was."""
    steps = sorted(plan.ablation.measured, key=lambda step: step[0] != "decode")
    for what, size in steps:
        return f"{what}_images_per_second_{size}", f"{what} at {size}x{size}, images/s"
    return "", ""


def _dots(axes: Axes, trained: Sequence[Summary]) -> None:
    places = range(len(trained))
    for place, each in zip(places, trained, strict=True):
        axes.plot(each.psnr, [place] * len(each.psnr), "o", color=f"C{place % 10}", alpha=0.5)
        axes.plot([each.low, each.high], [place] * 2, "-", color=f"C{place % 10}")
        axes.plot(each.mean, place, "|", color="black", markersize=14)
    _name_rows(axes, trained)
    axes.margins(y=0.1)
    axes.set_xlabel("PSNR (dB)")


def _bars(axes: Axes, found: Sequence[Summary], column: str, label: str) -> None:
    values, colours = [each.costs[column] or 0 for each in found], [f"C{i % 10}" for i in range(len(found))]
    axes.barh(range(len(found)), values, color=colours)
    _name_rows(axes, found)
    axes.set_xlabel(label)


def _name_rows(axes: Axes, found: Sequence[Summary]) -> None:
    """The variants from top to bottom, in a figure that is high enough for their names."""
    names = [_broken(each) for each in found]
    axes.set_yticks(range(len(found)), names, fontsize=9)
    axes.invert_yaxis()
    axes.figure.set_figheight(max(HEIGHT, 1 + LINE * sum(name.count("\n") + 1.5 for name in names)))


def _broken(summary: Summary) -> str:
    """The label in lines that leave room for the plot."""
    return summary.variant.label.replace(",", ",\n")


def _pareto(axes: Axes, trained: Sequence[Summary], x: Sequence[float | None], label: str, least: bool) -> None:
    """PSNR over the seeds against `x` where it is known, with a line through those that none beats in both.

    Of many variants only these and the base have their names beside them.
    """
    known = [(place, each, x[place]) for place, each in enumerate(trained) if x[place] is not None]
    front = pareto([(value if least else -value, each.mean) for _, each, value in known])
    middle = (min(value for *_, value in known) + max(value for *_, value in known)) / 2
    named = 0
    for place, each, value in sorted(known, key=lambda point: point[2]):
        spread = [[each.mean - each.low], [each.high - each.mean]]
        axes.errorbar(value, each.mean, yerr=spread, fmt="o", capsize=3, color=f"C{place % 10}")
        if len(known) <= NAMED or each.variant.label == "base" or (value if least else -value, each.mean) in front:
            named += 1  # names of neighbours stand above and below in turn
            x_offset, side = (-6, "right") if value > middle else (6, "left")
            y_offset, end = (5, "bottom") if named % 2 else (-5, "top")
            place_of = {"xytext": (x_offset, y_offset), "ha": side, "va": end, "textcoords": "offset points"}
            axes.annotate(_broken(each), (value, each.mean), **place_of, fontsize=9, in_layout=False)
    axes.plot([abs(value) for value, _ in front], [quality for _, quality in front], ":", color="grey", zorder=0)
    axes.margins(x=0.2, y=0.15)
    axes.locator_params(axis="x", nbins=4)  # numbers of many digits have room
    axes.set_xlabel(label)
    axes.set_ylabel("PSNR (dB)")


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (cost, quality) those that no other beats in one without being worse in the other, by rising cost."""
    front: list[tuple[float, float]] = []
    for cost, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or quality > front[-1][1]:
            front.append((cost, quality))
    return front


def _curves(axes: Axes, plan: AblationPlan, trained: Sequence[Summary], column: str, label: str) -> None:
    """One line a run; those of a variant look alike."""
    for place, each in enumerate(trained):
        look = {"color": f"C{place % 10}", "linestyle": DASHES[place // 10 % len(DASHES)], "alpha": 0.8}
        runs = [run for run in plan.runs if run.variant is each.variant]
        for index, run in enumerate(runs):
            lines = [line for line in read_log(plan.folder_of(run) / TRAIN) if line.get(column) is not None]
            name = each.variant.label if index == 0 else None
            axes.plot([line["step"] for line in lines], [line[column] for line in lines], **look, label=name)
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    axes.figure.set_figheight(HEIGHT + LINE * len(trained))
    axes.figure.legend(loc="outside lower center", fontsize=9, frameon=False)
