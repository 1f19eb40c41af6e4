"""Time and memory of steps, each row measured in a process of its own.

A process that crashes or runs out of memory costs its row only, which then has the reason in `error`.
"""

import contextlib
import importlib.metadata
import json
import re
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from vaezoo.benchmark.case import DIFFUSERS, BenchmarkCase, make_case
from vaezoo.benchmark.process import ProcessLost, benchmark_process
from vaezoo.errors import InputError
from vaezoo.evaluation.results import hardware
from vaezoo.specs.model import ModelSpec
from vaezoo.version import __version__

BenchmarkRow = dict[str, Any]
COLUMNS = (
    *("model", "spec_hash", "implementation", "what", "size", "batch", "dtype", "memory_format", "device", "threads"),
    *("warmup", "repeats", "seconds", "seconds_q1", "seconds_q3", "cpu_seconds", "images_per_second"),
    *("peak_rss_growth_mib", "peak_allocated_mib", "time_ratio", "cpu_ratio", "memory_ratio"),
    *("largest_batch", "budget_mib"),
    *("error", "vaezoo", "torch", "diffusers", "hardware"),
)
OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|MemoryError|SIGKILL", re.IGNORECASE)
MAX_BATCH = 4096  # images of the largest batch that is tried


def measure(
    name_or_spec: str | ModelSpec,
    what: str,
    size: int = 256,
    batch: int = 1,
    dtype: str = "fp32",
    channels_last: bool = False,
    device: str = "cpu",
    repeats: int = 5,
    warmup: int = 1,
) -> BenchmarkRow:
    """Measure time and memory of one step with random weights and images, in a process of its own.

    Args:
        name_or_spec: A name that `vaezoo.get_spec` takes, or a spec.
        what: "encode", "decode" or "train". A training step is forward, backward and an AdamW update with L1 and KL
            losses.
        size: Pixels per side of the images.
        batch: Number of images per step.
        dtype: Dtype of the weights: "fp32", "bf16" or "fp16". A training step keeps float32 weights, computes under
            autocast, and takes the first two.
        channels_last: Whether weights and images are in the channels_last memory format.
        device: Device to run on.
        repeats: Number of timed steps, at least 1.
        warmup: Number of steps before them; they count for peak memory but not for time.

    Returns:
        A value for each of `COLUMNS`, `None` where it does not apply; `docs/benchmark.md` explains them. If the process
        fails, `error` has the reason and there are no figures.

    Raises:
        InputError: If an argument is invalid; nothing has run then.
        UnknownNameError: If there is no model of this name.
    """
    _check_times(repeats, warmup)
    return _run([make_case(name_or_spec, what, size, batch, dtype, channels_last, device)], repeats, warmup)[0]


def measure_beside_diffusers(
    name_or_spec: str | ModelSpec,
    what: str,
    size: int = 256,
    batch: int = 1,
    dtype: str = "fp32",
    channels_last: bool = False,
    device: str = "cpu",
    repeats: int = 5,
    warmup: int = 1,
) -> tuple[BenchmarkRow, BenchmarkRow]:
    """Measure the network and diffusers' `AutoencoderKL` of it, in two processes that alternate step by step.

    Args:
        name_or_spec: A name that `vaezoo.get_spec` takes, or a spec.
        what: As for `measure`, like all further arguments.

    Returns:
        The rows of both. The first also has `time_ratio` and `cpu_ratio`, medians of this library's time divided by
        that of diffusers in the same turn, and `memory_ratio`.

    Raises:
        InputError: As `measure`, or if diffusers is not installed or its `AutoencoderKL` does not support the network.
        UnknownNameError: If there is no model of this name.
    """
    _check_times(repeats, warmup)
    ours = make_case(name_or_spec, what, size, batch, dtype, channels_last, device)
    theirs = make_case(name_or_spec, what, size, batch, dtype, channels_last, device, DIFFUSERS)
    first, second = _run([ours, theirs], repeats, warmup)
    return first, second


def largest_batch(
    name_or_spec: str | ModelSpec,
    what: str,
    size: int,
    budget_mib: float,
    dtype: str = "fp32",
    channels_last: bool = False,
    device: str = "cpu",
) -> BenchmarkRow:
    """Find the largest batch whose step stays within a memory budget.

    The search doubles and bisects up to `MAX_BATCH` images, with a process per batch. Running out of memory counts as
    over the budget.

    Args:
        name_or_spec: A name that `vaezoo.get_spec` takes, or a spec.
        what: "encode", "decode" or "train".
        size: Pixels per side of the images.
        budget_mib: Memory in MiB, more than 0, compared with the peak that `measure` reports.
        dtype: As for `measure`, like the remaining arguments.

    Returns:
        `largest_batch`, 0 if a single image is over the budget; `budget_mib`; and `error`, the reason if a process
        failed otherwise, in which case `largest_batch` is `None`.

    Raises:
        InputError: As `measure`, or if the budget is not positive.
        UnknownNameError: If there is no model of this name.
    """
    check_budget(budget_mib)
    fitting, too_many = 0, MAX_BATCH + 1
    while too_many - fitting > 1:
        batch = min(max(2 * fitting, 1), MAX_BATCH) if too_many > MAX_BATCH else (fitting + too_many) // 2
        row = measure(name_or_spec, what, size, batch, dtype, channels_last, device, repeats=2, warmup=0)
        if row["error"] and not OUT_OF_MEMORY.search(row["error"]):
            return {"largest_batch": None, "budget_mib": budget_mib, "error": row["error"]}
        memory = None if row["error"] else memory_of(row)
        if memory is None or memory > budget_mib:
            too_many = batch
        else:
            fitting = batch
    return {"largest_batch": fitting, "budget_mib": budget_mib, "error": None}


def check_budget(budget_mib: float) -> None:
    """Raise `InputError` unless the budget is more than 0 MiB."""
    if not budget_mib > 0:
        raise InputError(f"budget_mib is {budget_mib}; expected more than 0 MiB")


def _check_times(repeats: int, warmup: int) -> None:
    if repeats < 1 or warmup < 0:
        raise InputError(f"repeats is {repeats} and warmup {warmup}; expected at least 1 and at least 0")


def _run(cases: Sequence[BenchmarkCase], repeats: int, warmup: int) -> list[BenchmarkRow]:
    """Measure the cases, whose processes alternate step by step, and return a row for each."""
    answers: list[list[dict[str, Any]]] = [[] for _ in cases]
    errors: dict[int, str] = {}
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(benchmark_process()) for _ in cases]
        turns = [[json.dumps(asdict(case)) for case in cases], *([["step"] * len(cases)] * (warmup + repeats))]
        for turn in turns:
            for index, question in enumerate(turn):
                if index not in errors:
                    try:
                        answers[index].append(processes[index].ask(question))
                    except ProcessLost as lost:
                        errors[index] = str(lost)
    rows = [_about(case, repeats, warmup) for case in cases]
    for index, row in enumerate(rows):
        row |= {"error": errors[index]} if index in errors else _figures(row, answers[index], warmup)
    if len(cases) == 2 and not errors:
        steps = list(zip(*(each[1 + warmup :] for each in answers), strict=True))
        for ratio, key in (("time_ratio", "seconds"), ("cpu_ratio", "cpu_seconds")):
            rows[0][ratio] = statistics.median(ours[key] / theirs[key] for ours, theirs in steps)
        ours_mib, theirs_mib = map(memory_of, rows)
        rows[0]["memory_ratio"] = ours_mib / theirs_mib if ours_mib is not None and theirs_mib else None
    return rows


def _about(case: BenchmarkCase, repeats: int, warmup: int) -> BenchmarkRow:
    """Return a row with its conditions and without figures."""
    known = {
        "model": case.name,
        "spec_hash": case.spec.hash[:12],
        **{name: getattr(case, name) for name in ("implementation", "what", "size", "batch", "dtype", "device")},
        "memory_format": "channels_last" if case.channels_last else "contiguous",
        "warmup": warmup,
        "repeats": repeats,
        "vaezoo": __version__,
        "torch": torch.__version__.partition("+")[0],
        "diffusers": importlib.metadata.version(DIFFUSERS) if case.implementation == DIFFUSERS else None,
        "hardware": hardware(torch.device(case.device)),
    }
    return {column: known.get(column) for column in COLUMNS}


def _figures(row: BenchmarkRow, answers: Sequence[dict[str, Any]], warmup: int) -> BenchmarkRow:
    """Return the figures of a row from the answers of its process, of which the first is about the process."""
    start, steps = answers[0], answers[1:]
    seconds = [step["seconds"] for step in steps[warmup:]]
    quartiles = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    peak = max(step["peak_mib"] for step in steps)
    cuda = torch.device(row["device"]).type == "cuda"
    return {
        "threads": start["threads"],
        "seconds": statistics.median(seconds),
        "seconds_q1": quartiles[0],
        "seconds_q3": quartiles[2],
        "cpu_seconds": statistics.median(step["cpu_seconds"] for step in steps[warmup:]),
        "images_per_second": row["batch"] / statistics.median(seconds),
        "peak_allocated_mib": peak if cuda else None,
        "peak_rss_growth_mib": None if cuda else peak - start["before_mib"],
    }


def memory_of(row: BenchmarkRow) -> float | None:
    """Return the peak memory of a row in MiB: that of the GPU's allocator, or the growth of the process.

    `None` for a row that failed.
    """
    memory: float | None = row["peak_allocated_mib"]
    return row["peak_rss_growth_mib"] if memory is None else memory
