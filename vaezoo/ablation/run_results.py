"""Results of an ablation: one JSON file a run, and the tables that are made of them."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from vaezoo.ablation.measured_costs import measured_columns
from vaezoo.ablation.plan import AblationPlan, AblationRun
from vaezoo.errors import FileError
from vaezoo.evaluation.results import COLUMNS, format_cell
from vaezoo.io.files import opened, read_json, write_json, write_text

RECIPE, TRAIN, RESULT, OUTPUT = "recipe.yaml", "train", "result.json", "output.txt"  # in the folder of a run
TABLE, LINES = "results.csv", "results.jsonl"
FLOAT_FORMAT = ".6g"
KEYS = ("name", "changes", "spec_hash", "recipe_hash", "seed", "error")
_FIGURES = COLUMNS[COLUMNS.index("psnr") : COLUMNS.index("vaezoo")]
TRAINED = ("steps", "seconds", "protocol", "nets", "images", "size", *_FIGURES, "hardware")
ResultRow = dict[str, Any]


def write_result(folder: Path, figures: ResultRow) -> None:
    """What came of a run; its last act."""
    write_json(folder / RESULT, _plain(figures))


def read_result(folder: Path) -> ResultRow | None:
    """What came of a run, or None where it is not done.

    Raises:
        FileError: If the file is damaged.
    """
    path, remedy = folder / RESULT, "remove it, and its run is made again"
    if not path.exists():
        return None
    result = read_json(path, remedy)
    if not isinstance(result, dict) or not {"psnr", "error"} & result.keys():
        raise FileError(f"{path}: damaged (neither psnr nor error in it); {remedy}")
    return result


def rows_of(plan: AblationPlan) -> list[ResultRow]:
    """A row for each run that is done, in the order of the plan; for each variant where nothing is trained."""
    trainings: list[tuple[AblationRun | None, Any, ResultRow]] = [(None, variant, {}) for variant in plan.variants]
    if plan.runs:
        results = [(run, run.variant, read_result(plan.folder_of(run))) for run in plan.runs]
        trainings = [each for each in results if each[2] is not None]
    rows = []
    for run, variant, result in trainings:
        about = {
            "name": variant.name,
            "changes": " ".join(
                f"{path}={format_cell(value, FLOAT_FORMAT)}" for path, value in variant.overrides.items()
            ),
            "spec_hash": variant.spec.hash[:12],
            "recipe_hash": run.recipe_hash[:12] if run else None,
            "seed": run.seed if run else None,
            "error": result.get("error"),
        }
        trained = {column: result.get(column) for column in TRAINED} if run else {}
        rows.append({**about, **variant.costs, **measured_columns(plan, variant), **trained})
    return rows


def write_tables(plan: AblationPlan) -> list[ResultRow]:
    """Write `results.csv` and `results.jsonl` anew from the results of the runs; returns their rows.

    Others may do the same at the same time: what has come in between reading and writing is written, too.
    """
    rows: list[ResultRow] | None = None
    while rows != (found := rows_of(plan)):
        rows, table = found, io.StringIO()
        columns = list(rows[0]) if rows else list(KEYS)
        writer = csv.DictWriter(table, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({column: format_cell(row[column], FLOAT_FORMAT) for column in columns} for row in rows)
        write_text(plan.folder / LINES, "".join(json.dumps(_plain(row), ensure_ascii=False) + "\n" for row in rows))
        write_text(plan.folder / TABLE, table.getvalue())
    return rows


def read_table(folder: Path) -> list[dict[str, str]]:
    """The rows of an ablation's `results.csv`, every cell as text.

    Raises:
        FileError: If there is none, or it is no such table.
    """
    path = folder / TABLE
    with opened(path) as file:
        try:
            rows = list(csv.DictReader(io.StringIO(file.read().decode("utf-8", errors="replace"))))
        except csv.Error as error:
            raise FileError(f"{path}: damaged ({error}); the command of the ablation writes it anew") from error
    if not rows or any(key not in rows[0] for key in KEYS):
        raise FileError(f"{path}: no results of `vaezoo ablate` in it")
    return rows


def _plain(value: Any) -> Any:
    """Data that JSON has words for: null for a number that is none."""
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
