"""The row of a benchmark: its columns, conditions and figures."""

import importlib.metadata
import statistics
from collections.abc import Sequence
from typing import Any

import torch

from vaezoo.analysis.costs import costs
from vaezoo.benchmark.case import BenchmarkCase
from vaezoo.benchmark.peers import DIFFUSERS
from vaezoo.evaluation.results import hardware
from vaezoo.inference.optimize import cpu_flags
from vaezoo.specs.model import ModelSpec
from vaezoo.version import __version__

BenchmarkRow = dict[str, Any]
FIRST_COLUMNS = (  # of the files of earlier versions
    *("model", "spec_hash", "implementation", "what", "size", "batch", "dtype", "memory_format", "device", "threads"),
    *("warmup", "repeats", "seconds", "seconds_q1", "seconds_q3", "cpu_seconds", "images_per_second"),
    *("peak_rss_growth_mib", "peak_allocated_mib", "time_ratio", "cpu_ratio", "memory_ratio"),
    *("largest_batch", "budget_mib"),
    *("error", "vaezoo", "torch", "diffusers", "hardware"),
)
COLUMNS = (
    *FIRST_COLUMNS,
    *("fast", "tile", "against", "gmacs", "matmul_gmacs_per_second", "matmul_share", "cpu_features"),
)
CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # that decide on the speed of matrix products


def about(case: BenchmarkCase, repeats: int, warmup: int) -> BenchmarkRow:
    """Return the row of a case with its conditions and without figures."""
    loads = case.what == "load"
    known = {
        "model": case.name,
        "spec_hash": case.spec.hash[:12],
        **{name: getattr(case, name) for name in ("implementation", "what", "dtype", "device", "tile")},
        "size": None if loads else case.size,
        "batch": None if loads else case.batch,
        "memory_format": None if loads else conditions(case).rpartition(" ")[2],
        "warmup": warmup,
        "repeats": repeats,
        "fast": ("yes" if case.keep_memory else "memory returned") if case.fast else None,
        "gmacs": None if loads else _gmacs(case.spec, case.what, case.size) * case.batch,
        "vaezoo": __version__,
        "torch": torch.__version__.partition("+")[0],
        "diffusers": importlib.metadata.version(DIFFUSERS) if case.implementation == DIFFUSERS else None,
        "hardware": hardware(torch.device(case.device)),
        "cpu_features": " ".join(flag for flag in CPU_FEATURES if flag in cpu_flags()),
    }
    return {column: known.get(column) for column in COLUMNS}


def conditions(case: BenchmarkCase) -> str:
    """Return implementation, dtype and memory format of a case in words."""
    if case.what == "load":
        return f"{case.implementation} {case.dtype}"
    return f"{case.implementation} {case.dtype} {'channels_last' if case.channels_last else 'contiguous'}"


def _gmacs(spec: ModelSpec, what: str, size: int) -> float:
    """GMACs of a step for one image, as the network is written; a backward pass has twice those of the forward pass."""
    counted = costs(spec, size)
    if what in ("encode", "decode"):
        return counted.gmacs(f"{what}r")
    return counted.gmacs() * (3 if what == "train" else 1)


def figures(row: BenchmarkRow, start: dict[str, Any], steps: Sequence[dict[str, Any]]) -> BenchmarkRow:
    """Return the figures of a row.

    Args:
        row: Its conditions.
        start: Answer of its process before the first step.
        steps: Answer of its process to each step, with those of the warm-up.
    """
    timed = steps[row["warmup"] :]
    seconds = [step["seconds"] for step in timed]
    median = statistics.median(seconds)
    quartiles = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    peak = max(step["peak_mib"] for step in steps)
    cuda = torch.device(row["device"]).type == "cuda"
    speed = start["matmul_gmacs"] if row["gmacs"] else None  # the processes of `load` do not measure it
    return {
        "threads": start["threads"],
        "seconds": median,
        "seconds_q1": quartiles[0],
        "seconds_q3": quartiles[2],
        "cpu_seconds": statistics.median(step["cpu_seconds"] for step in timed),
        "images_per_second": row["batch"] / median if row["batch"] else None,
        "peak_allocated_mib": peak if cuda else None,
        "peak_rss_growth_mib": None if cuda else peak - start["before_mib"],
        "matmul_gmacs_per_second": speed,
        "matmul_share": row["gmacs"] / median / speed if speed else None,
    }


def ratios(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> BenchmarkRow:
    """Return the medians over turns of our time divided by the peer's, from the timed steps of both."""
    turns = list(zip(ours, theirs, strict=True))
    return {
        ratio: statistics.median(one[key] / other[key] for one, other in turns)
        for ratio, key in (("time_ratio", "seconds"), ("cpu_ratio", "cpu_seconds"))
    }


def memory_of(row: BenchmarkRow) -> float | None:
    """Return the peak memory of a row in MiB: that of the GPU's allocator, or the growth of the process.

    `None` for a row that failed.
    """
    memory: float | None = row["peak_allocated_mib"]
    return row["peak_rss_growth_mib"] if memory is None else memory
