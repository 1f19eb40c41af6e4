"""The report of an ablation: a self-contained HTML page, and Markdown with plots in files beside it."""

import base64
import importlib
import shlex
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from vaezoo.ablation.measured_costs import read_measured
from vaezoo.ablation.plan import AblationPlan, AblationRun
from vaezoo.ablation.run_results import OUTPUT, RESULT, ResultRow
from vaezoo.ablation.summary import Summary, answer, summarize
from vaezoo.ablation.table import table
from vaezoo.analysis.compare import compare_specs
from vaezoo.errors import FileError
from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.io.escape import markdown_text, terminal_text
from vaezoo.io.files import make_folder, write_text
from vaezoo.io.images import load_image
from vaezoo.training.curves import CURVES, draw_curves
from vaezoo.training.log import NAME as LOG
from vaezoo.training.longer import TRAIN
from vaezoo.version import __version__

PLOTS = "plots"
LONGER = 10  # times the steps of a run that the suggested command trains


def check_extra() -> None:
    """Raise `FileError` unless the packages that a report needs are installed; call it before the work."""
    for module in ("jinja2", "matplotlib"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise FileError(
                f"a report needs {module}: pip install 'vaezoo[ablate]', or --no-report for the tables only ({error})"
            ) from error


def write_report(plan: AblationPlan, rows: Sequence[ResultRow], command: str) -> None:
    """Write `report.html`, `report.md` and the plots of the latter into the folder of a plan, and curves of each run.

    Args:
        plan: The plan.
        rows: The rows of its results so far.
        command: The command that makes the ablation, for the report.

    Raises:
        FileError: If the files cannot be written, or the extra `ablate` is not installed.
    """
    check_extra()
    import jinja2

    from vaezoo.ablation.plots import draw_all

    _draw_curves_of_runs(plan)
    summaries = summarize(plan, rows)
    plots = draw_all(plan, summaries)
    for name, (_, svg) in plots.items():
        write_text(make_folder(plan.folder / PLOTS) / f"{name}.svg", svg)
    data = {
        "question": plan.ablation.question,
        "answer": answer(plan, rows),
        "base": summaries[0].variant.name,
        "conditions": conditions(plan, rows),
        "table": table(plan, summaries),
        "plots": [
            {"name": name, "title": title, "uri": _uri(svg.encode(), "svg+xml")} for name, (title, svg) in plots.items()
        ],
        "pictures": pictures(plan, summaries),
        "longer": longer(plan, summaries),
        "differences": differences(plan, summaries),
        "errors": [
            (each.variant.name, terminal_text(error))
            for each in summaries
            for error in (*each.errors, *_failed_measurements(plan, each))
        ],
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
        environment.filters["markdown"] = markdown_text
        write_text(plan.folder / f"report.{suffix}", environment.from_string(template).render(data) + "\n")


def _draw_curves_of_runs(plan: AblationPlan) -> None:
    """Draw `curves.svg` of each run that has been made since the last report."""
    for run in plan.runs:
        folder = plan.folder_of(run)
        if (folder / RESULT).exists() and (folder / TRAIN / LOG).exists() and not (folder / TRAIN / CURVES).exists():
            draw_curves(folder / TRAIN)


def conditions(plan: AblationPlan, rows: Sequence[ResultRow]) -> list[str]:
    """Describe the conditions of the figures, in sentences."""
    measured = _measuring(plan)
    reference = plan.ablation.recipe
    if reference is None or not plan.runs:
        return [
            f"Nothing was trained; costs are counted{', speeds measured' if measured else ', not measured'}.",
            *measured,
        ]
    recipe, evaluation, seeds = plan.runs[0].recipe, plan.ablation.evaluation, ", ".join(map(str, plan.ablation.seeds))
    same = "steps" if plan.ablation.equal == "steps" else "multiply-accumulates, so costlier variants get fewer steps"
    data = Path(evaluation.root).resolve().name if evaluation.root else "the sample photos of vaezoo"
    evaluated = next((row for row in rows if row.get("images")), None)
    sentences = [
        f"Trained for {recipe.steps:,} steps with the recipe {reference.name} and the seeds {seeds}: "
        f"the same crops in the same order, and the same number of {same}.",
        f"Evaluated on {data} at {evaluation.size}x{evaluation.size}"
        + (f", {evaluated['images']} photos, by the protocol {evaluated['protocol']}." if evaluated else "."),
    ]
    if _same(recipe.data.root, evaluation.root):
        sentences.append(
            "The evaluation photos are those that were trained on: PSNR shows how fast a variant learns them."
        )
    if machines := sorted({row["hardware"] for row in rows if row.get("hardware")}):
        sentences.append(f"Trained on {', '.join(machines)}.")
    return sentences + measured


def _same(a: str | None, b: str | None) -> bool:
    """Return whether two paths are the same folder."""
    return a == b or (a is not None and b is not None and Path(a).resolve() == Path(b).resolve())


def _measuring(plan: AblationPlan) -> list[str]:
    """Describe the conditions of the speeds, if there are any."""
    config = plan.ablation.measure
    rows = [row for each in plan.variants for row in read_measured(plan, each).values()]
    if config is None or not rows:
        return []
    machine = f"{rows[0]['hardware']} ({config.device})"
    layout = ", channels_last" if config.channels_last else ""
    return [
        f"Speeds are those of one image at a time in {config.dtype}{layout} on {machine}: medians of"
        f" {config.repeats} steps, and their quartiles."
    ]


def _failed_measurements(plan: AblationPlan, summary: Summary) -> Iterator[str]:
    for what, size in plan.ablation.measured:
        if error := summary.costs[f"{what}_error_{size}"]:
            yield f"{what} at {size}x{size}: {error}"


def pictures(plan: AblationPlan, summaries: Sequence[Summary]) -> list[dict[str, Any]]:
    """Return, for each photo, its `input` and the `outputs` of the first seed of every variant with their PSNR."""
    folders: dict[str, Path] = {}
    for each in summaries:
        run = _first_done(plan, each)
        if run and (plan.folder_of(run) / "output_0.png").exists():
            folders[each.variant.label] = plan.folder_of(run)
    if not folders:
        return []
    first = next(iter(folders.values()))
    return [
        {
            "input": _picture(first / f"input_{index}.png"),
            "outputs": [
                {
                    "name": name,
                    "uri": _picture(folder / f"output_{index}.png"),
                    "psnr": _psnr(first / f"input_{index}.png", folder / f"output_{index}.png"),
                }
                for name, folder in folders.items()
            ],
        }
        for index in range(len(list(first.glob("input_*.png"))))
    ]


def longer(plan: AblationPlan, summaries: Sequence[Summary]) -> list[dict[str, str]]:
    """Return, for each trained variant, the command that trains it longer from the run folder of its first seed."""
    found = []
    for each in summaries:
        run = _first_done(plan, each)
        if run:
            folder = plan.folder_of(run) / TRAIN
            out = plan.folder.with_name(f"{plan.folder.resolve().name}_longer") / each.variant.label
            steps = str(LONGER * run.recipe.steps)
            command = ["vaezoo", "train", str(folder), "--steps", steps, "--out", str(out)]
            found.append({"name": each.variant.label, "command": shlex.join(command)})
    return found


def _first_done(plan: AblationPlan, summary: Summary) -> AblationRun | None:
    """Return the first run of a variant that has a result; others may be writing to their folders."""
    seeds = {row["seed"] for row in summary.rows}
    return next((run for run in plan.runs if run.variant is summary.variant and run.seed in seeds), None)


def differences(plan: AblationPlan, summaries: Sequence[Summary]) -> list[dict[str, Any]]:
    """Return the differences of each variant from the base, row by row."""
    base, size = summaries[0].variant.spec, plan.ablation.sizes[0]
    return [
        {"name": each.variant.name, "size": size, "rows": compare_specs(base, each.variant.spec, size)}
        for each in summaries[1:]
    ]


def _picture(path: Path) -> str:
    return _uri(path.read_bytes(), "png")


def _psnr(crop: Path, output: Path) -> float:
    return psnr(load_image(crop), load_image(output)).item()


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
