"""The table of a report: a selection of columns, with the difference of each figure from the base."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from vaezoo.ablation.plan import AblationPlan
from vaezoo.ablation.summary import Summary, mean
from vaezoo.specs.model import HALVES

FIGURES = {  # column -> heading, digits, whether more is better
    "psnr": ("PSNR (dB)", 2, True),
    "ssim": ("SSIM", 3, True),
    "lpips_vgg": ("LPIPS", 3, False),
    "lpips_alex": ("LPIPS (alex)", 3, False),
    "spectrum_slope": ("spectrum slope", 2, None),
    "active_units": ("active units", 1, None),
    "posterior_std": ("posterior std", 4, None),
    "scale_error": ("scale error", 3, None),
}
Cell = dict[str, Any]


def table(plan: AblationPlan, summaries: Sequence[Summary]) -> dict[str, Any]:
    """Return the table of a report.

    Args:
        plan: The plan.
        summaries: The variants, the base first.

    Returns:
        `head`, the headings, and `rows` of cells. A cell has its `text`, the value to `sort` by, the `change` from the
        base, the `spread` over seeds, and `better`: whether the change is an improvement, `None` if it is neither or
        lies within the spread.
    """
    trained = [column for column in FIGURES if any(each.values(column) for each in summaries)]
    size, measured = plan.ablation.sizes[0], plan.ablation.measured
    counted = _counted(size)
    head = ["variant", *(FIGURES[column][0] for column in trained), *counted, f"latent of {size}"]
    head += [f"{what} at {size} (images/s)" for what, size in measured]
    head += ["seeds"] if plan.runs else []
    rows = []
    for each in summaries:
        cells = [_text(each.variant.label, None)]
        for column in trained:
            _, digits, more = FIGURES[column]
            cells.append(_compared(each.values(column), summaries[0].values(column), digits, more))
        for value, digits in counted.values():
            cells.append(_compared([value(each.costs)], [value(summaries[0].costs)], digits, None, relative=True))
        shape = each.costs[f"latent_shape_{size}"]
        cells.append(_text(shape, math.prod(map(int, shape.split("x")))))
        cells += [_speed(each.costs, summaries[0].costs, what, at) for what, at in measured]
        if plan.runs:
            cells.append(_text(str(len(each.rows)), len(each.rows)))
        rows.append(cells)
    return {"head": head, "rows": rows}


def _counted(size: int) -> dict[str, tuple[Callable[[dict[str, Any]], float], int]]:
    """Return, by heading, the value to show of the columns of costs, and its number of decimals."""
    halves = [f"activation_peak_mib_{half}_{size}" for half in HALVES]
    return {
        "parameters (M)": (lambda costs: costs["params"] / 1e6, 3),
        f"GMACs at {size}": (lambda costs: costs[f"gmacs_{size}"], 3),
        "share of attention": (lambda costs: costs[f"attention_share_{size}"], 3),
        "activation peak (MiB)": (lambda costs: max(costs[half] for half in halves), 1),
        "output sees (px)": (lambda costs: costs["receptive_field_pixels"], 0),
        "compression": (lambda costs: costs["compression_ratio"], 1),
    }


def _speed(costs: dict[str, Any], base: dict[str, Any], what: str, size: int) -> Cell:
    """Return a cell of images per second with its quartiles, or one that says that the measurement failed."""
    if costs[f"{what}_error_{size}"]:
        return _text("failed", "")
    column = f"{what}_images_per_second_{size}"
    ours, theirs = ([each[column]] if each[column] else [] for each in (costs, base))
    cell = _compared(ours, theirs, 2, True, relative=True)
    if cell["text"]:
        low, high = _quartiles(costs, what, size)
        cell["spread"] = f"{low:.2f} to {high:.2f}"
        if theirs and cell["change"]:
            cell["better"] = _better((low, high), _quartiles(base, what, size), more=True)
    return cell


def _quartiles(costs: dict[str, Any], what: str, size: int) -> tuple[float, float]:
    """Return the quartiles of the images per second of a measured step."""
    return 1 / costs[f"{what}_seconds_q3_{size}"], 1 / costs[f"{what}_seconds_q1_{size}"]


def _better(values: Sequence[float], base: Sequence[float], more: bool | None) -> bool | None:
    """Return whether values are better than those of the base; `None` if single or if their ranges overlap."""
    if more is None or min(len(values), len(base)) < 2:
        return None
    if min(values) > max(base):
        return more
    return not more if max(values) < min(base) else None


def _text(text: str, sort: float | str | None) -> Cell:
    return {"text": text, "sort": sort, "change": "", "spread": "", "better": None}


def _compared(
    values: Sequence[float], base: Sequence[float], digits: int, more: bool | None, relative: bool = False
) -> Cell:
    """Return a cell of a figure over the seeds, with its change from the base if the shown digits differ.

    Args:
        values: Values over the seeds.
        base: Values of the base over the seeds.
        digits: Number of decimals.
        more: Whether a higher value is better; `None` if neither direction is.
        relative: Whether to show the change in percent.
    """
    if not values:
        return _text("", None)
    value = mean(values)
    spread = f"{min(values):.{digits}f} to {max(values):.{digits}f}" if len(values) > 1 else ""
    change, better = "", None
    if base:
        before = mean(base)
        share = relative and before
        difference = round(100 * (value - before) / before, 1) if share else round(value - before, digits)
        if difference:
            change = f"{difference:+.1f} %" if share else f"{difference:+.{digits}f}"
            better = _better(values, base, more)
    return {"text": f"{value:.{digits}f}", "sort": value, "change": change, "spread": spread, "better": better}
