"""The report of an ablation: one HTML page that needs nothing else, and Markdown with plots beside it."""

import base64
import importlib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from vaezoo.ablation.measured_costs import read_measured
from vaezoo.ablation.plan import AblationPlan
from vaezoo.ablation.run_results import OUTPUT, ResultRow
from vaezoo.ablation.summary import Summary, answer, summarize
from vaezoo.ablation.table import table
from vaezoo.analysis.compare import compare_specs
from vaezoo.errors import FileError
from vaezoo.io.files import make_folder, write_text
from vaezoo.version import __version__

PLOTS = "plots"


def check_extra() -> None:
    """Raise `FileError` where what draws a report is not installed; to be asked before the work."""
    for module in ("jinja2", "matplotlib"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise FileError(
                f"a report needs {module}: pip install 'vaezoo[ablate]', or --no-report for the tables alone ({error})"
            ) from error


def write_report(plan: AblationPlan, rows: Sequence[ResultRow], command: str) -> None:
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
        "errors": [(each.variant.name, error) for each in found for error in (*each.errors, *_unmeasured(plan, each))],
        "trained": bool(plan.runs),
        "measured": plan.ablation.measured,
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


def conditions(plan: AblationPlan, rows: Sequence[ResultRow]) -> list[str]:
    """What the figures were measured under, in sentences."""
    measured = _measuring(plan)
    if not plan.runs:
        return [
            f"Nothing was trained; costs are counted{', speeds measured' if measured else ', not measured'}.",
            *measured,
        ]
    recipe, judging, seeds = plan.runs[0].recipe, plan.ablation.evaluation, ", ".join(map(str, plan.ablation.seeds))
    same = "steps" if plan.ablation.equal == "steps" else "multiply-accumulates, so dearer variants get fewer steps"
    data = Path(judging.root).resolve().name if judging.root else "the sample photos of vaezoo"
    judged = next((row for row in rows if row.get("images")), None)
    said = [
        f"Trained for {recipe.steps:,} steps by the recipe {plan.ablation.recipe.name}, with seeds {seeds}: "
        f"the same crops in the same order, and the same number of {same}.",
        f"Judged on {data} at {judging.size}x{judging.size}"
        + (f", {judged['images']} photos, by the protocol {judged['protocol']}." if judged else "."),
    ]
    if _same(recipe.data.root, judging.root):
        said.append("The photos that judge are those that were trained on: this tells how fast a variant learns them.")
    if machines := sorted({row["hardware"] for row in rows if row.get("hardware")}):
        said.append(f"Trained on {', '.join(machines)}.")
    return said + measured


def _same(a: str | None, b: str | None) -> bool:
    """Whether two folders are one, however they are written."""
    return a == b or (None not in (a, b) and Path(a).resolve() == Path(b).resolve())


def _measuring(plan: AblationPlan) -> list[str]:
    """What speeds were measured under; nothing where none are."""
    how, rows = plan.ablation.measure, [row for each in plan.variants for row in read_measured(plan, each).values()]
    if not rows:
        return []
    machine = f"{rows[0]['hardware']} ({how.device})"
    layout = ", channels_last" if how.channels_last else ""
    return [
        f"Speeds are those of one image at a time in {how.dtype}{layout} on {machine}: medians of {how.repeats} steps,"
        " and their quartiles."
    ]


def _unmeasured(plan: AblationPlan, summary: Summary) -> Iterator[str]:
    for what, size in plan.ablation.measured:
        if error := summary.costs[f"{what}_error_{size}"]:
            yield f"{what} at {size}x{size}: {error}"


def pictures(plan: AblationPlan, found: Sequence[Summary]) -> list[dict[str, Any]]:
    """For each photo its `input` and the `outputs` of the first seed of every variant, as data URIs with names."""
    folders = {}
    for each in found:
        seeds = {row["seed"] for row in each.rows}  # done: others may be about to write theirs
        run = next(
            (
                run
                for run in plan.runs
                if run.variant is each.variant and run.seed in seeds and (plan.folder_of(run) / "output_0.png").exists()
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


def differences(plan: AblationPlan, found: Sequence[Summary]) -> list[dict[str, Any]]:
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
