"""The table of a report: a choice of columns, each figure beside that of the base."""

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


def table(plan: AblationPlan, found: Sequence[Summary]) -> dict[str, Any]:
    """`head`, the headings, and `rows` of cells: `text`, the number to `sort` by, and the `change` against the base."""
    trained = [column for column in FIGURES if any(each.values(column) for each in found)]
    size, measured = plan.ablation.sizes[0], plan.ablation.measured
    counted = _counted(size)
    head = ["variant", *(FIGURES[column][0] for column in trained), *counted, f"latent of {size}"]
    head += [f"{what} at {size} (images/s)" for what, size in measured]
    head += ["seeds"] if plan.runs else []
    rows = []
    for each in found:
        cells = [_text(each.variant.label, None)]
        for column in trained:
            _, digits, more = FIGURES[column]
            cells.append(_cell(each.values(column), found[0].values(column), digits, more))
        for value, digits in counted.values():
            cells.append(_cell([value(each.costs)], [value(found[0].costs)], digits, None, relative=True))
        shape = each.costs[f"latent_shape_{size}"]
        cells.append(_text(shape, math.prod(map(int, shape.split("x")))))
        cells += [_speed(each.costs, found[0].costs, what, at) for what, at in measured]
        if plan.runs:
            cells.append(_text(str(len(each.rows)), len(each.rows)))
        rows.append(cells)
    return {"head": head, "rows": rows}


def _counted(size: int) -> dict[str, tuple[Callable[[dict[str, Any]], float], int]]:
    """Heading -> what it shows of the columns of costs, and how many digits; the rest stands in `results.csv`."""
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
    """Images a second, with the quartiles of the steps; of one that failed, that it did."""
    if costs[f"{what}_error_{size}"]:
        return _text("failed", "")
    column = f"{what}_images_per_second_{size}"
    cell = _cell(*([each[column]] if each[column] else [] for each in (costs, base)), 2, True, relative=True)
    if cell["text"]:
        slow, fast = costs[f"{what}_seconds_q3_{size}"], costs[f"{what}_seconds_q1_{size}"]
        cell["spread"] = f"{1 / slow:.2f} to {1 / fast:.2f}"
    return cell


def _text(text: str, sort: float | str | None) -> Cell:
    return {"text": text, "sort": sort, "change": "", "spread": "", "better": None}


def _cell(
    values: Sequence[float], base: Sequence[float], digits: int, more: bool | None, relative: bool = False
) -> Cell:
    """A figure over the seeds beside that of the base, where it differs as far as digits are shown.

    `better` is None where it does not, and where neither more nor less is better.
    """
    if not values:
        return _text("", None)
    value, before = mean(values), mean(base)
    spread = f"{min(values):.{digits}f} to {max(values):.{digits}f}" if len(values) > 1 else ""
    change, better = "", None
    if before is not None:
        share = relative and before
        difference = round(100 * (value - before) / before, 1) if share else round(value - before, digits)
        if difference:
            change = f"{difference:+.1f} %" if share else f"{difference:+.{digits}f}"
            better = None if more is None else (difference > 0) == more
    return {"text": f"{value:.{digits}f}", "sort": value, "change": change, "spread": spread, "better": better}
