"""The measured panel: time and memory of steps, a process of its own for every row.

A process that crashes or runs out of memory costs its row, which says so in `error`.
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

from vaezoo.benchmark.case import DIFFUSERS, Job, make_job
from vaezoo.benchmark.process import Lost, bench
from vaezoo.errors import InputError
from vaezoo.evaluation.results import hardware
from vaezoo.specs.model import ModelSpec
from vaezoo.version import __version__

Row = dict[str, Any]
COLUMNS = (
    *("model", "spec_hash", "implementation", "what", "size", "batch", "dtype", "memory_format", "device", "threads"),
    *("warmup", "repeats", "seconds", "seconds_q1", "seconds_q3", "cpu_seconds", "images_per_second"),
    *(
        "peak_rss_growth_mib",
        "peak_allocated_mib",
        "time_ratio",
        "cpu_ratio",
        "memory_ratio",
        "largest_batch",
        "budget_mib",
    ),
    *("error", "vaezoo", "torch", "diffusers", "hardware"),
)
MEMORY = re.compile(r"out of memory|can't allocate memory|MemoryError|SIGKILL", re.IGNORECASE)
MOST = 4096  # images of the largest batch that is tried


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
) -> Row:
    """Time and memory of one step with random weights and images, measured in a process of its own.

    Args:
        name_or_spec: What `get_spec` takes, or a spec.
        what: "encode", "decode" or "train": forward, backward and update by AdamW, of L1 and KL.
        size: Pixels per side.
        batch: Images of a step.
        dtype: "fp32", "bf16" or "fp16", of the weights; "train" takes the first two and keeps float32 weights.
        channels_last: Memory format of weights and images.
        device: Where.
        repeats: Steps that are timed.
        warmup: Steps before them; their memory counts, their time does not.

    Returns:
        A value for each of `COLUMNS`, None where it does not apply; `docs/benchmark.md` says what they mean. If the
        process fails, `error` says how, and there are no figures.

    Raises:
        InputError: If an argument is not right, before anything runs.
        UnknownNameError: If there is no such model.
    """
    _check_times(repeats, warmup)
    return _run([make_job(name_or_spec, what, size, batch, dtype, channels_last, device)], repeats, warmup)[0]


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
) -> tuple[Row, Row]:
    """The same for ours and for diffusers' `AutoencoderKL`, in two processes that take turns step by step.

    Our row has `time_ratio` and `cpu_ratio`, medians over the turns of ours by theirs, and `memory_ratio`.

    Raises:
        InputError: As `measure`, or if diffusers is not installed or its `AutoencoderKL` has no such network.
    """
    _check_times(repeats, warmup)
    ours = make_job(name_or_spec, what, size, batch, dtype, channels_last, device)
    theirs = make_job(name_or_spec, what, size, batch, dtype, channels_last, device, DIFFUSERS)
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
) -> Row:
    """The most images of which a step stays within `budget_mib` of the memory that `measure` tells, at most `MOST`.

    Found by doubling and bisection, with a process for each batch; running out of memory counts as too many.

    Returns:
        `largest_batch`, 0 where a single image is too much, `budget_mib`, and `error` where a process failed for
        another reason; `largest_batch` is None then.

    Raises:
        InputError: As `measure`, or if the budget is not positive.
    """
    check_budget(budget_mib)
    fitting, too_many = 0, MOST + 1
    while too_many - fitting > 1:
        batch = min(max(2 * fitting, 1), MOST) if too_many > MOST else (fitting + too_many) // 2
        row = measure(name_or_spec, what, size, batch, dtype, channels_last, device, repeats=2, warmup=0)
        if row["error"] and not MEMORY.search(row["error"]):
            return {"largest_batch": None, "budget_mib": budget_mib, "error": row["error"]}
        if row["error"] or memory_of(row) > budget_mib:
            too_many = batch
        else:
            fitting = batch
    return {"largest_batch": fitting, "budget_mib": budget_mib, "error": None}


def check_budget(budget_mib: float) -> None:
    """Raise an `InputError` unless there is memory in the budget."""
    if not budget_mib > 0:
        raise InputError(f"budget_mib is {budget_mib}; expected MiB, more than 0")


def _check_times(repeats: int, warmup: int) -> None:
    if repeats < 1 or warmup < 0:
        raise InputError(f"repeats is {repeats}, warmup {warmup}; expected 1 or more, and 0 or more")


def _run(jobs: Sequence[Job], repeats: int, warmup: int) -> list[Row]:
    """A row for each job; they take turns."""
    facts: list[list[dict[str, Any]]] = [[] for _ in jobs]
    errors: dict[int, str] = {}
    with contextlib.ExitStack() as stack:
        benches = [stack.enter_context(bench(job)) for job in jobs]
        questions = [[json.dumps(asdict(job)) for job in jobs], *([["step"] * len(jobs)] * (warmup + repeats))]
        for turn in questions:
            for index, question in enumerate(turn):
                if index not in errors:
                    try:
                        facts[index].append(benches[index].ask(question))
                    except Lost as lost:
                        errors[index] = str(lost)
    rows = [_about(job, repeats, warmup) for job in jobs]
    for index, row in enumerate(rows):
        row |= {"error": errors[index]} if index in errors else _figures(row, facts[index], warmup)
    if len(jobs) == 2 and not errors:
        turns = list(zip(*(each[1 + warmup :] for each in facts), strict=True))
        for ratio, key in (("time_ratio", "seconds"), ("cpu_ratio", "cpu_seconds")):
            rows[0][ratio] = statistics.median(ours[key] / theirs[key] for ours, theirs in turns)
        rows[0]["memory_ratio"] = memory_of(rows[0]) / memory_of(rows[1])
    return rows


def _about(job: Job, repeats: int, warmup: int) -> Row:
    """What a row says before anything was measured."""
    known = {
        "model": job.name,
        "spec_hash": job.spec.hash[:12],
        **{name: getattr(job, name) for name in ("implementation", "what", "size", "batch", "dtype", "device")},
        "memory_format": "channels_last" if job.channels_last else "contiguous",
        "warmup": warmup,
        "repeats": repeats,
        "vaezoo": __version__,
        "torch": torch.__version__.partition("+")[0],
        "diffusers": importlib.metadata.version(DIFFUSERS) if job.implementation == DIFFUSERS else None,
        "hardware": hardware(torch.device(job.device)),
    }
    return {column: known.get(column) for column in COLUMNS}


def _figures(row: Row, facts: list[dict[str, Any]], warmup: int) -> Row:
    """What the answers of a bench say: its facts, then steps."""
    begun, steps = facts[0], facts[1:]
    seconds = [step["seconds"] for step in steps[warmup:]]
    quartiles = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    peak = max(step["peak_mib"] for step in steps)
    cuda = torch.device(row["device"]).type == "cuda"
    return {
        "threads": begun["threads"],
        "seconds": statistics.median(seconds),
        "seconds_q1": quartiles[0],
        "seconds_q3": quartiles[2],
        "cpu_seconds": statistics.median(step["cpu_seconds"] for step in steps[warmup:]),
        "images_per_second": row["batch"] / statistics.median(seconds),
        "peak_allocated_mib": peak if cuda else None,
        "peak_rss_growth_mib": None if cuda else peak - begun["before_mib"],
    }


def memory_of(row: Row) -> float | None:
    """MiB that the steps of a row took at most: a GPU's allocator, or by how much the process grew."""
    return row["peak_rss_growth_mib"] if row["peak_allocated_mib"] is None else row["peak_allocated_mib"]
