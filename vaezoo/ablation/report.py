"""The report of an ablation: one HTML page that needs nothing else, and Markdown with plots beside it."""

import base64
import importlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from vaezoo.ablation.plan import Plan
from vaezoo.ablation.results import OUTPUT, Row
from vaezoo.ablation.summary import Summary, answer, mean, summarize
from vaezoo.comparing import compare_specs
from vaezoo.errors import FileError
from vaezoo.files import make_folder, write_text
from vaezoo.version import __version__

PLOTS = "plots"
FIGURES = {  # column -> heading, digits, whether more is better
    "psnr": ("PSNR (dB)", 2, True),
    "ssim": ("SSIM", 3, True),
    "lpips_vgg": ("LPIPS", 3, False),
    "spectrum_slope": ("spectrum slope", 2, None),
    "active_units": ("active units", 1, None),
    "posterior_std": ("posterior std", 4, None),
    "scale_error": ("scale error", 3, None),
}
STATIC = {  # prefix of a column -> heading, divisor, digits; those that a panel has are shown
    "params": ("parameters (M)", 1e6, 3),
    "gmacs_": ("GMACs at ", 1, 3),
    "activation_peak_mib_": ("activations (MiB) ", 1, 1),
    "receptive_field_latent": ("latent sees (px)", 1, 0),
    "receptive_field_output": ("output sees (latents)", 1, 0),
    "attention_share_": ("attention share at ", 1, 3),
    "compression_ratio": ("compression", 1, 1),
}


def check_extra() -> None:
    """Raise `FileError` where what draws a report is not installed; to be asked before the work."""
    for module in ("jinja2", "matplotlib"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise FileError(
                f"a report needs {module}: pip install 'vaezoo[ablate]', or --no-report for the tables alone ({error})"
            ) from error


def write_report(plan: Plan, rows: Sequence[Row], command: str) -> None:
    """Write `report.html`, `report.md` and the plots of the latter into the folder of a plan.

    Args:
        plan: What was asked.
        rows: The results so far.
        command: What makes all of it again.

    Raises:
        FileError: If they cannot be written, or the extra `ablate` is not installed.
    """
    check_extra()
    import jinja2

    from vaezoo.ablation.plots import draw_all

    found = summarize(plan, rows)
    plots = draw_all(plan, found)
    for name, (_, svg) in plots.items():
        write_text(make_folder(plan.folder / PLOTS) / f"{name}.svg", svg)
    data = {
        "question": plan.ablation.question,
        "answer": answer(plan, rows),
        "base": found[0].variant.name,
        "conditions": conditions(plan, rows),
        "table": table(plan, found),
        "plots": [
            {"name": name, "title": title, "uri": _uri(svg.encode(), "svg+xml")} for name, (title, svg) in plots.items()
        ],
        "pictures": pictures(plan, found),
        "differences": differences(plan, found),
        "errors": [(each.variant.name, error) for each in found for error in each.errors],
        "output": OUTPUT,
        "command": command,
        "version": __version__,
    }
    for suffix, escape in (("html", True), ("md", False)):
        template = files("vaezoo.ablation").joinpath(f"report.{suffix}.j2").read_text(encoding="utf-8")
        environment = jinja2.Environment(
            autoescape=escape, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
        )
        write_text(plan.folder / f"report.{suffix}", environment.from_string(template).render(data) + "\n")


def conditions(plan: Plan, rows: Sequence[Row]) -> list[str]:
    """What the figures were measured under, in sentences."""
    if not plan.runs:
        return ["Nothing was trained; costs are counted, not measured."]
    recipe, judging, seeds = plan.runs[0].recipe, plan.ablation.evaluation, ", ".join(map(str, plan.ablation.seeds))
    same = "steps" if plan.ablation.equal == "steps" else "multiply-accumulates, so dearer variants get fewer steps"
    data = Path(judging.root).name if judging.root else "the sample photos of vaezoo"
    judged = next((row for row in rows if row.get("images")), None)
    said = [
        f"Trained for {recipe.steps:,} steps by the recipe {plan.ablation.recipe.name}, with seeds {seeds}: "
        f"the same crops in the same order, and the same number of {same}.",
        f"Judged on {data} at {judging.size}x{judging.size}"
        + (f", {judged['images']} photos, by the protocol {judged['protocol']}." if judged else "."),
    ]
    if recipe.data.root == judging.root:
        said.append("The photos that judge are those that were trained on: this tells how fast a variant learns them.")
    if machines := sorted({row["hardware"] for row in rows if row.get("hardware")}):
        said.append(f"On {', '.join(machines)}.")
    return said


def table(plan: Plan, found: Sequence[Summary]) -> dict[str, Any]:
    """`head`, the headings, and `rows` of cells: `text`, the number to `sort` by, and the `change` against the base."""
    static = {column: _heading(column) for column in found[0].costs if _heading(column)}
    trained = [column for column in FIGURES if any(each.values(column) for each in found)]
    head = ["variant", *(FIGURES[column][0] for column in trained), *(heading for heading, _, _ in static.values())]
    head += ["seeds"] if plan.runs else []
    rows = []
    for each in found:
        cells = [{"text": each.variant.label, "sort": None, "change": "", "spread": "", "better": None}]
        for column in trained:
            _, digits, more = FIGURES[column]
            cells.append(_cell(each.values(column), found[0].values(column), digits, more))
        for column, (_, divisor, digits) in static.items():
            cells.append(
                _cell([each.costs[column] / divisor], [found[0].costs[column] / divisor], digits, None, relative=True)
            )
        if plan.runs:
            count = len(each.rows)
            cells.append({"text": str(count), "sort": count, "change": "", "spread": "", "better": None})
        rows.append(cells)
    return {"head": head, "rows": rows}


def _heading(column: str) -> tuple[str, float, int] | None:
    """How a column of costs is shown, or None where it is not: the halves stand in `results.csv`."""
    if column in STATIC:
        return STATIC[column]
    prefix = next((prefix for prefix in STATIC if prefix.endswith("_") and column.startswith(prefix)), None)
    rest = column.removeprefix(prefix or "")
    if prefix is None or not rest.rpartition("_")[2].isdecimal() or (prefix == "gmacs_" and not rest.isdecimal()):
        return None
    heading, divisor, digits = STATIC[prefix]
    return heading + rest.replace("_", " "), divisor, digits


def _cell(
    values: Sequence[float], base: Sequence[float], digits: int, more: bool | None, relative: bool = False
) -> dict:
    """A figure over the seeds beside that of the base; `better` is None where neither more nor less is better."""
    if not values:
        return {"text": "", "sort": None, "change": "", "spread": "", "better": None}
    value, before = mean(values), mean(base)
    spread = f"{min(values):.{digits}f} to {max(values):.{digits}f}" if len(values) > 1 else ""
    change, better = "", None
    if before is not None and value != before:
        change = f"{100 * (value - before) / before:+.1f} %" if relative and before else f"{value - before:+.{digits}f}"
        better = None if more is None else (value > before) == more
    return {"text": f"{value:.{digits}f}", "sort": value, "change": change, "spread": spread, "better": better}


def pictures(plan: Plan, found: Sequence[Summary]) -> list[dict[str, Any]]:
    """For each photo its `input` and the `outputs` of the first seed of every variant, as data URIs with names."""
    folders = {}
    for each in found:
        run = next(
            (
                run
                for run in plan.runs
                if run.variant is each.variant and (plan.folder_of(run) / "output_0.png").exists()
            ),
            None,
        )
        if run:
            folders[each.variant.label] = plan.folder_of(run)
    if not folders:
        return []
    first = next(iter(folders.values()))
    return [
        {
            "input": _picture(first / f"input_{index}.png"),
            "outputs": [
                {"name": name, "uri": _picture(folder / f"output_{index}.png")} for name, folder in folders.items()
            ],
        }
        for index in range(len(list(first.glob("input_*.png"))))
    ]


def differences(plan: Plan, found: Sequence[Summary]) -> list[dict[str, Any]]:
    """What each variant changes in the base, row by row."""
    base, size = found[0].variant.spec, plan.ablation.sizes[0]
    return [
        {"name": each.variant.name, "size": size, "rows": compare_specs(base, each.variant.spec, size)}
        for each in found[1:]
    ]


def _picture(path: Path) -> str:
    return _uri(path.read_bytes(), "png")


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
