"""Time every row of a network: `python scripts/profile_rows.py` writes `docs/results/row_profile.csv`.

Each row of encoder and decoder runs on the result of the row before it, in channels_last. Calls of the row as it is
alternate with calls by the fast path of `vaezoo.optimize`.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import torch
from csv_rows import write_rows
from torch import Tensor

import vaezoo
from vaezoo.analysis.costs import costs
from vaezoo.benchmark.benchmark_row import about
from vaezoo.benchmark.case import make_case
from vaezoo.inference.executor import FASTEST
from vaezoo.inference.process_memory import keep_freed_memory
from vaezoo.inference.strip_pass import run_half
from vaezoo.inference.strips.strip_run import Run
from vaezoo.nn.stack import Stack

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "row_profile.csv"


def timed_rows(half: Stack, x: Tensor, repeats: int) -> tuple[list[tuple[float, float]], Tensor]:
    """Return the median seconds of each row, as it is and by the fast path, and the result of the last row."""
    rows = []
    for index, block in enumerate(half):
        row = cast(Stack, half[index : index + 1])
        x = half.input_of(index, x).contiguous(memory_format=torch.channels_last)
        calls: list[Callable[[], Tensor]] = [partial(block, x), partial(_by_strips, row, x)]
        seconds: list[list[float]] = [[], []]
        for _ in range(1 + repeats):
            for call, found in zip(calls, seconds, strict=True):
                start = time.perf_counter()
                made = call()
                found.append(time.perf_counter() - start)
        rows.append((statistics.median(seconds[0][1:]), statistics.median(seconds[1][1:])))
        x = made
    return rows, x


def _by_strips(row: Stack, x: Tensor) -> Tensor:
    return run_half(row, x, Run(FASTEST, fuse=True))


def main() -> None:
    """Time all rows and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="ldm_f8_z4")
    parser.add_argument("--size", type=int, default=512, help="pixels per side")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    vae = vaezoo.create(options.network).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        encoder, moments = timed_rows(vae.encoder, torch.randn(1, 3, options.size, options.size), options.repeats)
        decoder, _ = timed_rows(vae.decoder, moments[:, : vae.latent_channels], options.repeats)
    machine = about(
        make_case(options.network, "decode", options.size, 1, "fp32", True, "cpu"), options.repeats, warmup=1
    )
    same = {name: machine[name] for name in ("hardware", "cpu_features", "torch")}
    rows = [
        {
            "network": options.network,
            "size": options.size,
            "row": f"{row.half}[{row.index}]",
            "block": row.block,
            "shape": "x".join(map(str, row.shape)),
            "gmacs": f"{row.gmacs:.2f}",
            "seconds": f"{plain:.6f}",
            "fast_seconds": f"{fast:.6f}",
            **same,
            "threads": torch.get_num_threads(),
        }
        for row, (plain, fast) in zip(costs(vae.spec, options.size).rows, encoder + decoder, strict=True)
    ]
    write_rows(RESULTS, rows)


if __name__ == "__main__":
    main()
