"""Measure time and memory of encoding, decoding and training steps, each row in a process of its own.

Weights and images are random; the time of a step does not depend on them.
"""

import itertools
from argparse import Namespace
from collections.abc import Iterator

from vaezoo.benchmark.case import DIFFUSERS, OURS, STEPS, make_case
from vaezoo.benchmark.measure import (
    COLUMNS,
    BenchmarkRow,
    check_budget,
    largest_batch,
    measure,
    measure_beside_diffusers,
)
from vaezoo.console import add_json, local_path, parser, print_json, progress, say
from vaezoo.errors import InputError
from vaezoo.evaluation.results import add_row, check_results
from vaezoo.nn.dtypes import DTYPES
from vaezoo.specs.faults import unknown

FORMATS = {"contiguous": False, "channels_last": True}
Case = tuple[str, str, int, int, str, bool]  # name, what, size, batch, dtype, channels_last


def main(arguments: list[str]) -> None:
    options = _options(arguments)
    cases = list(_cases(options))
    if options.out:
        check_results(options.out, COLUMNS, "benchmark")
    if options.budget is not None:
        check_budget(options.budget)
    for case in cases:  # check all of them before the first is measured
        make_case(*case, options.device, DIFFUSERS if options.peer else OURS)
    rows = []
    for case in progress(cases, "vaezoo benchmark"):
        for row in _measured(case, options):
            rows.append(row)
            if options.out:
                add_row(options.out, row, COLUMNS, "benchmark")
            if not options.json:
                say(_line(row))
    if options.json:
        print_json(rows)


def _options(arguments: list[str]) -> Namespace:
    arguments_parser = parser("benchmark", __doc__)
    arguments_parser.add_argument("names", nargs="+", help="models, hf-hub:…, local-dir:… or YAML files")
    add = arguments_parser.add_argument
    add("--sizes", default="256", help="pixels per side, separated by commas (default: 256)")
    add("--what", default=",".join(STEPS), help=f"steps (default: {','.join(STEPS)})")
    add("--dtypes", default="fp32", help=f"dtypes of {', '.join(DTYPES)} (default: fp32)")
    add("--formats", default="contiguous", help=f"memory formats of {', '.join(FORMATS)} (default: contiguous)")
    add("--batch", type=int, default=1, help="images per step (default: 1)")
    add("--device", default="cpu", help="cpu (default), cuda, cuda:1, mps")
    add("--repeats", type=int, default=5, help="number of timed steps (default: 5)")
    add("--warmup", type=int, default=1, help="number of steps before them (default: 1)")
    add("--peer", choices=[DIFFUSERS], help="also measure the same network of another library, step by step in turn")
    add("--budget", type=float, metavar="MIB", help="also find the largest batch within this memory")
    add("--out", type=local_path, help="a CSV file to add the rows to")
    add_json(arguments_parser)
    return arguments_parser.parse_args(arguments)


def _cases(options: Namespace) -> Iterator[Case]:
    """Yield the arguments of every row."""
    try:
        sizes = [int(size) for size in options.sizes.split(",")]
    except ValueError as error:
        raise InputError(f"--sizes {options.sizes}: expected pixels such as 128,256") from error
    formats = options.formats.split(",")
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"--formats {options.formats}: {unknown(name, FORMATS, 'format')}")
    parts = options.names, options.what.split(","), sizes, options.dtypes.split(","), [FORMATS[f] for f in formats]
    for name, what, size, dtype, channels_last in itertools.product(*parts):
        yield name, what, size, options.batch, dtype, channels_last


def _measured(case: Case, options: Namespace) -> list[BenchmarkRow]:
    """Measure a case and return its row, with `--peer` followed by that of the peer."""
    run = options.device, options.repeats, options.warmup
    rows = list(measure_beside_diffusers(*case, *run)) if options.peer else [measure(*case, *run)]
    if options.budget is not None and not rows[0]["error"]:
        name, what, size, _, dtype, channels_last = case
        rows[0] |= largest_batch(name, what, size, options.budget, dtype, channels_last, options.device)
    return rows


def _line(row: BenchmarkRow) -> str:
    """Format a row as one line of text."""
    conditions = f"{row['implementation']}, {row['size']} pixels, batch {row['batch']}, {row['dtype']}"
    line = f"{row['model']} {row['what']} ({conditions}, {row['memory_format']}): "
    if row["error"]:
        return f"{line}failed: {row['error']}"
    quartiles = f"{row['seconds_q1']:.4g} to {row['seconds_q3']:.4g}"
    line += f"{row['seconds']:.4g} s ({quartiles}), {row['images_per_second']:.3g} images/s, "
    grown = row["peak_rss_growth_mib"]
    line += f"{row['peak_allocated_mib']:,.0f} MiB" if grown is None else f"process grew by {grown:,.0f} MiB"
    if row["time_ratio"]:
        line += f"; {row['time_ratio']:.2f} x the peer's time ({row['cpu_ratio']:.2f} x its processor time), "
        line += f"{row['memory_ratio']:.2f} x its memory"
    if row["largest_batch"] is not None:
        line += f"; largest batch within {row['budget_mib']:,.0f} MiB: {row['largest_batch']}"
    return line
