"""Plots of a run: losses and PSNR over the steps, as SVG."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaezoo.io.files import write_text
from vaezoo.training.log import read_log

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = "curves.svg"
NO_CURVES = f"{CURVES} is not drawn without matplotlib: pip install 'vaezoo[ablate]'"
STYLE = {
    "svg.hashsalt": "vaezoo",  # equal plots give equal files
    "svg.fonttype": "none",
    "font.size": 13,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,  # 13.152 and not 0.002 with +1.315e1 above
    "axes.grid": True,
    "grid.alpha": 0.3,
}
WIDTH, HEIGHT = 5.0, 4.0  # inches; small, so that text stays readable on a phone


def draw_svg(draw: Callable[["Figure"], object], title: str, height: float = HEIGHT) -> str:
    """Draw a figure as the text of an SVG file; requires matplotlib.

    Args:
        draw: Function that draws on an empty figure.
        title: Title of the file.
        height: Height of the figure in inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    text = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure)
        figure.savefig(text, format="svg", metadata={"Date": None, "Title": title})
    return text.getvalue()


def draw_curves(run: Path) -> Path | None:
    """Draw the training loss and the validation PSNR of a run over its steps to `curves.svg` in its folder.

    Args:
        run: Run folder.

    Returns:
        Path of the file; `None` if matplotlib is not installed, or the log has neither.

    Raises:
        FileError: If the log is damaged, or the file cannot be written.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return None
    lines = read_log(run)
    columns = [(name, label) for name, label in (("loss", "training loss"), ("psnr", "PSNR (dB)")) if _of(lines, name)]
    if not columns:
        return None

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(len(columns), sharex=True, squeeze=False)[:, 0]
        for axes, (name, label) in zip(panels, columns, strict=True):
            steps, values = zip(*_of(lines, name), strict=True)
            single = len(steps) == 1  # a line through one point is invisible
            axes.plot(steps, values, "-" if name == "loss" and not single else "o-", markersize=4)
            axes.set_ylabel(label)
        panels[-1].set_xlabel("step")
        panels[-1].xaxis.get_major_locator().set_params(integer=True)

    write_text(run / CURVES, draw_svg(draw, f"{run.resolve().name}: loss and PSNR", 1 + 2.2 * len(columns)))
    return run / CURVES


def _of(lines: Sequence[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    """Step and value of each line of a log that has a finite value of this name."""
    return [(line["step"], line[name]) for line in lines if line.get(name) is not None]
