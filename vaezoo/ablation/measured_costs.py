"""Measured time and memory of an ablation's variants, kept in one JSON file per variant."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vaezoo.ablation.plan import AblationPlan
from vaezoo.ablation.question import MeasurementConfig
from vaezoo.ablation.variants import Variant
from vaezoo.benchmark.benchmark_row import BenchmarkRow, memory_of
from vaezoo.benchmark.measure import largest_batch, measure
from vaezoo.errors import FileError, InputError
from vaezoo.evaluation.results import hardware
from vaezoo.io.files import make_folder, read_json, write_json
from vaezoo.specs.hashing import json_hash

FOLDER = "measured"
FIGURES = ("seconds", "seconds_q1", "seconds_q3", "images_per_second")


class Measurement(NamedTuple):
    """One measurement: the step `what` of a variant, with an image of `size` pixels per side."""

    variant: Variant
    what: str
    size: int

    @property
    def key(self) -> str:
        """Key of the measurement in the file of its variant."""
        return f"{self.what}_{self.size}"


def unmeasured(plan: AblationPlan, retry: bool = False) -> list[Measurement]:
    """Return the measurements that the ablation asks for and that are missing.

    Args:
        plan: The plan.
        retry: Whether measurements that failed count as missing.

    Raises:
        FileError: If a file of measurements is damaged.
        InputError: If some are missing, and others were measured on other hardware.
    """
    if plan.ablation.measure is None:
        return []
    rows = {variant.name: read_measured(plan, variant) for variant in plan.variants}
    missing = []
    for variant in plan.variants:
        for what, size in plan.ablation.measured:
            measurement = Measurement(variant, what, size)
            row = rows[variant.name].get(measurement.key)
            if row is None or (retry and row["error"]):
                missing.append(measurement)
    if missing:
        ours = hardware(torch.device(plan.ablation.measure.device))
        others = {row["hardware"] for measured in rows.values() for row in measured.values()} - {ours}
        if others:
            raise InputError(
                f"{plan.folder / FOLDER}: measured on {', '.join(sorted(others))}, and this machine is {ours};"
                " continue on the former, or remove that folder to measure everything here"
            )
    return missing


def measure_all(plan: AblationPlan, missing: Sequence[Measurement], log: Callable[[str], None] = print) -> None:
    """Make measurements one after the other, each in a process of its own; the row of one that fails has the reason.

    Args:
        plan: The plan.
        missing: The measurements, as `unmeasured` returns them.
        log: Called with one line of text per measurement.

    Raises:
        FileError: If the folder of the plan cannot be written.
    """
    config = plan.ablation.measure
    if config is None:
        return
    for variant, what, size in missing:
        conditions = config.dtype, config.channels_last, config.device
        row = measure(variant.spec, what, size, 1, *conditions, config.repeats)
        if config.budget is not None and not row["error"]:
            row |= largest_batch(variant.spec, what, size, config.budget, *conditions)
        rows = {**read_measured(plan, variant), Measurement(variant, what, size).key: row}
        make_folder(plan.folder / FOLDER)
        write_json(_path(plan, config, variant), rows)
        outcome = f"failed: {row['error']}" if row["error"] else f"{row['seconds']:.4g} s"
        log(f"{variant.name}, {what} at {size}x{size}: {outcome}")


def read_measured(plan: AblationPlan, variant: Variant) -> dict[str, BenchmarkRow]:
    """Read the measurements of a variant under the conditions of the ablation.

    Returns:
        The row of each measurement, by its key such as "decode_256".

    Raises:
        FileError: If the file is damaged.
    """
    config = plan.ablation.measure
    if config is None or not (path := _path(plan, config, variant)).exists():
        return {}
    remedy = "remove it to measure it again"
    rows = read_json(path, remedy)
    if not isinstance(rows, dict) or not all(
        isinstance(row, dict) and {"hardware", "error"} <= row.keys() for row in rows.values()
    ):
        raise FileError(f"{path}: damaged (no rows of measurements); {remedy}")
    return rows


def measured_columns(plan: AblationPlan, variant: Variant) -> dict[str, Any]:
    """Return the columns of a variant's measurements, `None` where there is no figure.

    For each step: `decode_seconds_256` with its quartiles `decode_seconds_q1_256` and `decode_seconds_q3_256`,
    `decode_images_per_second_256`, `decode_memory_mib_256`, `decode_largest_batch_256` if there is a budget, and
    `decode_error_256`, the reason if it failed.
    """
    rows = read_measured(plan, variant)
    columns: dict[str, Any] = {}
    for what, size in plan.ablation.measured:
        row = rows.get(Measurement(variant, what, size).key, {})
        figures = {name: row.get(name) for name in FIGURES}
        figures["memory_mib"] = memory_of(row) if row else None
        if plan.ablation.measure and plan.ablation.measure.budget is not None:
            figures["largest_batch"] = row.get("largest_batch")
        figures["error"] = row.get("error")
        columns |= {f"{what}_{name}_{size}": value for name, value in figures.items()}
    return columns


def _path(plan: AblationPlan, config: MeasurementConfig, variant: Variant) -> Path:
    """Return the file of a network under all conditions but step and size."""
    conditions = {key: value for key, value in asdict(config).items() if key not in ("what", "sizes")}
    return plan.folder / FOLDER / f"{variant.spec.hash[:12]}-{json_hash(conditions)[:12]}.json"
