"""What was measured of an ablation's variants, kept as a JSON file for each: a second call measures what is missing."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vaezoo.ablation.plan import AblationPlan
from vaezoo.ablation.variants import Variant
from vaezoo.benchmark.measure import BenchmarkRow, largest_batch, measure, memory_of
from vaezoo.errors import FileError, InputError
from vaezoo.evaluation.results import hardware
from vaezoo.io.files import make_folder, read_json, write_json
from vaezoo.specs.hashing import json_hash

FOLDER = "measured"
FIGURES = ("seconds", "seconds_q1", "seconds_q3", "images_per_second")


class Step(NamedTuple):
    """One measurement of a variant: `what` with an image of `size` pixels per side."""

    variant: Variant
    what: str
    size: int

    @property
    def key(self) -> str:
        """What names it in the file of its variant."""
        return f"{self.what}_{self.size}"


def unmeasured(plan: AblationPlan, retry: bool = False) -> list[Step]:
    """The measurements that are asked for and missing; with `retry` those that failed as well.

    Raises:
        FileError: If a file is damaged.
        InputError: If some are missing and others were measured with other hardware.
    """
    rows = {variant.name: read_measured(plan, variant) for variant in plan.variants}
    missing = []
    for variant in plan.variants:
        for what, size in plan.ablation.measured:
            step = Step(variant, what, size)
            row = rows[variant.name].get(step.key)
            if row is None or (retry and row["error"]):
                missing.append(step)
    if missing:
        ours = hardware(torch.device(plan.ablation.measure.device))
        others = {row["hardware"] for kept in rows.values() for row in kept.values()} - {ours}
        if others:
            raise InputError(
                f"{plan.folder / FOLDER}: measured with {', '.join(sorted(others))}, and this is {ours};"
                " go on there, or remove that folder to measure all of it here"
            )
    return missing


def measure_all(plan: AblationPlan, steps: Sequence[Step], say: Callable[[str], None] = print) -> None:
    """Measure one step after the other, each in a process of its own; one that fails says why in its row.

    Raises:
        FileError: If the folder cannot be written.
    """
    for variant, what, size in steps:
        how = plan.ablation.measure
        manner = {"dtype": how.dtype, "channels_last": how.channels_last, "device": how.device}
        row = measure(variant.spec, what, size, repeats=how.repeats, **manner)
        if how.budget is not None and not row["error"]:
            row |= largest_batch(variant.spec, what, size, how.budget, **manner)
        rows = {**read_measured(plan, variant), Step(variant, what, size).key: row}
        make_folder(plan.folder / FOLDER)
        write_json(_path(plan, variant), rows)
        said = f"failed: {row['error']}" if row["error"] else f"{row['seconds']:.4g} s"
        say(f"{variant.name}, {what} at {size}x{size}: {said}")


def read_measured(plan: AblationPlan, variant: Variant) -> dict[str, BenchmarkRow]:
    """The rows of a variant under the conditions that are asked for: "decode_256" -> row.

    Raises:
        FileError: If the file is damaged.
    """
    if plan.ablation.measure is None or not (path := _path(plan, variant)).exists():
        return {}
    remedy = "remove it to measure it again"
    rows = read_json(path, remedy)
    found = list(rows.values()) if isinstance(rows, dict) else [None]
    if not all(isinstance(row, dict) and {"hardware", "error"} <= row.keys() for row in found):
        raise FileError(f"{path}: damaged (no rows of measurements); {remedy}")
    return rows


def measured_columns(plan: AblationPlan, variant: Variant) -> dict[str, Any]:
    """Columns of a variant, None where there is no figure.

    Of each step: `decode_seconds_256` with quartiles `decode_seconds_q1_256` and `…_q3_256`,
    `decode_images_per_second_256`, `decode_memory_mib_256`, `decode_largest_batch_256` if there is a budget, and
    `decode_error_256`, why it failed.
    """
    rows, columns = read_measured(plan, variant), {}
    for what, size in plan.ablation.measured:
        row = rows.get(Step(variant, what, size).key, {})
        figures = {name: row.get(name) for name in FIGURES}
        figures["memory_mib"] = memory_of(row) if row else None
        if plan.ablation.measure.budget is not None:
            figures["largest_batch"] = row.get("largest_batch")
        figures["error"] = row.get("error")
        columns |= {f"{what}_{name}_{size}": value for name, value in figures.items()}
    return columns


def _path(plan: AblationPlan, variant: Variant) -> Path:
    """Of the network and all conditions but step and size."""
    conditions = {key: value for key, value in asdict(plan.ablation.measure).items() if key not in ("what", "sizes")}
    return plan.folder / FOLDER / f"{variant.spec.hash[:12]}-{json_hash(conditions)[:12]}.json"
