"""The plots of a report, as SVG."""

import functools
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaezoo.ablation.plan import AblationPlan
from vaezoo.ablation.summary import Summary
from vaezoo.training.curves import HEIGHT, draw_svg
from vaezoo.training.log import read_log
from vaezoo.training.longer import TRAIN

LABEL_SIZE = 13
LINE_HEIGHT = 0.24  # inches per line of text
MAX_LABELED = 6  # up to this many points all of them are labeled
DASHES = ("-", "--", ":", "-.")  # colors repeat after ten variants
Draw = Callable[[Axes], None]


def draw_all(plan: AblationPlan, summaries: Sequence[Summary]) -> dict[str, tuple[str, str]]:
    """Draw the plots for which there are values.

    Args:
        plan: The plan.
        summaries: The variants, the base first.

    Returns:
        Title and SVG of each plot, by its name.
    """
    trained = [each for each in summaries if each.rows]
    plots = _training_plots(plan, trained) if trained else _cost_plots(plan, summaries)
    return {name: (title, draw_svg(functools.partial(_on_axes, draw), title)) for name, (title, draw) in plots.items()}


def _on_axes(draw: Draw, figure: Figure) -> None:
    draw(figure.add_subplot())


def _training_plots(plan: AblationPlan, trained: Sequence[Summary]) -> dict[str, tuple[str, Draw]]:
    size = plan.ablation.sizes[0]
    column, label = _speed(plan)
    gmacs = [each.costs[f"gmacs_{size}"] for each in trained]
    latent = [latent_values(each, size) for each in trained]
    speed = [each.costs[column] for each in trained] if column else []
    plots: dict[str, tuple[str, Draw]] = {
        "psnr": ("PSNR of each seed, and their mean", lambda axes: _dots(axes, trained)),
        "quality_gmacs": (
            "Quality against compute",
            lambda axes: _pareto(axes, trained, gmacs, f"GMACs at {size}x{size}", least=True),
        ),
        "quality_latent": (
            "Quality against latent size",
            lambda axes: _pareto(axes, trained, latent, f"values in the latent of {size}x{size}", least=True),
        ),
    }
    if any(speed):
        plots["quality_speed"] = (
            "Quality against measured speed",
            lambda axes: _pareto(axes, trained, speed, label, least=False),
        )
    for key, title, axis in (("psnr", "PSNR", "PSNR (dB)"), ("loss", "Training loss", "loss")):
        plots[f"curves_{key}"] = (f"{title} over the steps", functools.partial(_curves, plan, trained, key, axis))
    return plots


def _cost_plots(plan: AblationPlan, summaries: Sequence[Summary]) -> dict[str, tuple[str, Draw]]:
    size = plan.ablation.sizes[0]
    column, label = _speed(plan)
    plots: dict[str, tuple[str, Draw]] = {
        "gmacs": (f"GMACs at {size}x{size}", lambda axes: _bars(axes, summaries, f"gmacs_{size}", "GMACs")),
        "params": ("Parameters", lambda axes: _bars(axes, summaries, "params", "parameters")),
    }
    if column and any(each.costs[column] for each in summaries):
        plots["speed"] = ("Measured speed", lambda axes: _bars(axes, summaries, column, label))
    return plots


def latent_values(summary: Summary, size: int) -> int:
    """Return the number of values in the latent of an image of `size` pixels per side."""
    channels, downscale = summary.costs["latent_channels"], summary.costs["downscale"]
    return int(channels * (size // downscale) ** 2)


def _set_height(axes: Axes, inches: float) -> None:
    assert isinstance(axes.figure, Figure)
    axes.figure.set_figheight(inches)


def _speed(plan: AblationPlan) -> tuple[str, str]:
    """Return the column of speeds to plot and its label, of decoding if it was measured; empty if nothing was."""
    steps = sorted(plan.ablation.measured, key=lambda step: step[0] != "decode")
    for what, size in steps:
        return f"{what}_images_per_second_{size}", f"{what} at {size}x{size}, images/s"
    return "", ""


def _dots(axes: Axes, trained: Sequence[Summary]) -> None:
    for position, each in enumerate(trained):
        color = f"C{position % 10}"
        axes.plot(each.psnr, [position] * len(each.psnr), "o", color=color, alpha=0.5)
        axes.plot([each.low, each.high], [position] * 2, "-", color=color)
        axes.plot(each.mean, position, "|", color="black", markersize=14)
    _label_variants(axes, trained)
    axes.margins(y=0.1)
    axes.locator_params(axis="x", nbins=4)  # as in `_pareto`
    axes.set_xlabel("PSNR (dB)")


def _bars(axes: Axes, summaries: Sequence[Summary], column: str, label: str) -> None:
    values = [each.costs[column] or 0 for each in summaries]
    axes.barh(range(len(summaries)), values, color=[f"C{i % 10}" for i in range(len(summaries))])
    _label_variants(axes, summaries)
    axes.set_xlabel(label)


def _label_variants(axes: Axes, summaries: Sequence[Summary]) -> None:
    """Label the variants from top to bottom, and make the figure high enough for their names."""
    names = [_wrapped(each) for each in summaries]
    axes.set_yticks(range(len(summaries)), names, fontsize=LABEL_SIZE)
    axes.invert_yaxis()
    _set_height(axes, max(HEIGHT, 1 + LINE_HEIGHT * sum(name.count("\n") + 1.5 for name in names)))


def _wrapped(summary: Summary) -> str:
    """Return the label of a variant with one change per line, which leaves room for the plot."""
    return summary.variant.label.replace(",", ",\n")


def _pareto(axes: Axes, trained: Sequence[Summary], x: Sequence[float | None], label: str, least: bool) -> None:
    """Plot PSNR against `x` with the Pareto front; of many variants only the front and the base are labeled.

    Args:
        axes: Axes to draw on.
        trained: Variants with a PSNR.
        x: Value of each variant, `None` if it is unknown; one at least is known.
        label: Label of the x axis.
        least: Whether less is better, as for costs.
    """
    known = [(i, each, at) for i, (each, at) in enumerate(zip(trained, x, strict=True)) if at is not None]
    front = pareto([(at if least else -at, each.mean) for _, each, at in known])
    middle = (min(at for *_, at in known) + max(at for *_, at in known)) / 2
    known.sort(key=lambda point: (point[2], point[1].mean))
    below = known[0][1].mean <= known[-1][1].mean  # the labels of neighbors are below and above in turn
    for i, each, at in known:
        spread = [[each.mean - each.low], [each.high - each.mean]]
        axes.errorbar(at, each.mean, yerr=spread, fmt="o", capsize=3, color=f"C{i % 10}")
        if len(known) <= MAX_LABELED or each.variant.label == "base" or (at if least else -at, each.mean) in front:
            axes.annotate(
                _wrapped(each),
                (at, each.mean),
                xytext=(-6 if at > middle else 6, -5 if below else 5),
                textcoords="offset points",
                ha="right" if at > middle else "left",
                va="top" if below else "bottom",
                fontsize=LABEL_SIZE,
                in_layout=False,
            )
            below = not below
    axes.plot([abs(at) for at, _ in front], [quality for _, quality in front], ":", color="gray", zorder=0)
    axes.margins(x=0.2, y=0.15)
    axes.locator_params(axis="x", nbins=4)  # leaves room for numbers with many digits
    axes.set_xlabel(label)
    axes.set_ylabel("PSNR (dB)")


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the (cost, quality) points on the Pareto front, by ascending cost."""
    front: list[tuple[float, float]] = []
    for cost, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or quality > front[-1][1]:
            front.append((cost, quality))
    return front


def _curves(plan: AblationPlan, trained: Sequence[Summary], column: str, label: str, axes: Axes) -> None:
    """Plot a column of the logs, one line per run; the runs of a variant have the same color and dashes."""
    for i, each in enumerate(trained):
        runs = [run for run in plan.runs if run.variant is each.variant]
        for index, run in enumerate(runs):
            lines = [line for line in read_log(plan.folder_of(run) / TRAIN) if line.get(column) is not None]
            axes.plot(
                [line["step"] for line in lines],
                [line[column] for line in lines],
                color=f"C{i % 10}",
                linestyle=DASHES[i // 10 % len(DASHES)],
                alpha=0.8,
                label=each.variant.label if index == 0 else None,
            )
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    _set_height(axes, HEIGHT + LINE_HEIGHT * len(trained))
    axes.figure.legend(loc="outside lower center", fontsize=LABEL_SIZE, frameon=False)
