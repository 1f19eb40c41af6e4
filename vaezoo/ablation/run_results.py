"""Results of an ablation: one JSON file per run, and the tables that are made from them."""

import csv
import io
import math
from pathlib import Path
from typing import Any

from vaezoo.ablation.measured_costs import measured_columns
from vaezoo.ablation.plan import AblationPlan, AblationRun
from vaezoo.ablation.variants import Variant
from vaezoo.errors import FileError
from vaezoo.evaluation.results import COLUMNS, format_cell
from vaezoo.io.escape import csv_cell
from vaezoo.io.files import json_lines, opened, read_json, write_json, write_text

RESULT, OUTPUT = "result.json", "output.txt"  # in the folder of a run, beside its recipe
TABLE, LINES = "results.csv", "results.jsonl"
FLOAT_FORMAT = ".6g"
KEYS = ("name", "changes", "spec_hash", "recipe_hash", "seed", "error")
_FIGURES = COLUMNS[COLUMNS.index("psnr") : COLUMNS.index("vaezoo")]
TRAINED = ("steps", "seconds", "protocol", "nets", "images", "size", *_FIGURES, "hardware")
ResultRow = dict[str, Any]


def write_result(folder: Path, figures: ResultRow) -> None:
    """Write the result of a run, which is the last file that it writes."""
    write_json(folder / RESULT, _plain(figures))


def read_result(folder: Path) -> ResultRow | None:
    """Read the result of a run; `None` if it is not done.

    Raises:
        FileError: If the file is damaged.
    """
    path, remedy = folder / RESULT, "remove it to make the run again"
    if not path.exists():
        return None
    result = read_json(path, remedy)
    if not isinstance(result, dict) or not {"psnr", "error"} & result.keys():
        raise FileError(f"{path}: damaged (it has neither psnr nor error); {remedy}")
    return result


def is_final(result: ResultRow | None) -> bool:
    """Return whether a run is not to be made again: it is done, or failed for a cause that would not pass by itself."""
    return result is not None and not result.get("temporary")


def rows_of(plan: AblationPlan) -> list[ResultRow]:
    """Return a row for each run that is done, in the order of the plan, or for each variant if nothing is trained."""
    trainings: list[tuple[AblationRun | None, Variant, ResultRow]] = []
    for run in plan.runs:
        if (result := read_result(plan.folder_of(run))) is not None:
            trainings.append((run, run.variant, result))
    if not plan.runs:
        trainings = [(None, variant, {}) for variant in plan.variants]
    rows = []
    for training, variant, figures in trainings:
        about = {
            "name": variant.name,
            "changes": " ".join(
                f"{path}={format_cell(value, FLOAT_FORMAT)}" for path, value in variant.overrides.items()
            ),
            "spec_hash": variant.spec.hash[:12],
            "recipe_hash": training.recipe_hash[:12] if training else None,
            "seed": training.seed if training else None,
            "error": figures.get("error"),
        }
        trained = {column: figures.get(column) for column in TRAINED} if training else {}
        rows.append({**about, **variant.costs, **measured_columns(plan, variant), **trained})
    return rows


def write_tables(plan: AblationPlan) -> list[ResultRow]:
    """Write `results.csv` and `results.jsonl` from the results of the runs.

    Other processes may do the same: the tables are written again if a run has ended in the meantime.

    Returns:
        The rows.
    """
    rows: list[ResultRow] | None = None
    while rows != (found := rows_of(plan)):
        rows, table = found, io.StringIO()
        columns = list(rows[0]) if rows else list(KEYS)
        writer = csv.DictWriter(table, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {column: csv_cell(format_cell(row[column], FLOAT_FORMAT)) for column in columns} for row in rows
        )
        write_text(plan.folder / LINES, json_lines(map(_plain, rows)))
        write_text(plan.folder / TABLE, table.getvalue())
    return rows


def read_table(folder: Path) -> list[dict[str, str]]:
    """Read the rows of an ablation's `results.csv`, with every cell as text.

    Raises:
        FileError: If the file is missing, damaged, or not such a table.
    """
    path = folder / TABLE
    with opened(path) as file:
        try:
            rows = list(csv.DictReader(io.StringIO(file.read().decode("utf-8", errors="replace"))))
        except csv.Error as error:
            raise FileError(f"{path}: damaged ({error}); the command of the ablation rewrites it") from error
    if not rows or any(key not in rows[0] for key in KEYS):
        raise FileError(f"{path}: no results of `vaezoo ablate`; name the folder of its --out")
    return rows


def _plain(value: Any) -> Any:
    """Replace numbers that are not finite, which JSON cannot express, by null."""
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
