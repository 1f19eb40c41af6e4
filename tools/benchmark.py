"""Measure time and memory of encoding, decoding and training steps, each row in a process of its own.

Weights and images are random; the time of a step does not depend on them.
"""

import itertools
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from vaezoo.benchmark.benchmark_row import COLUMNS, FIRST_COLUMNS, BenchmarkRow
from vaezoo.benchmark.case import STEPS, make_case
from vaezoo.benchmark.measure import check_budget, largest_batch, measure, measure_beside
from vaezoo.benchmark.peers import PEERS
from vaezoo.benchmark.scaling import exponents, path_text
from vaezoo.console import add_fast_and_tile, add_json, local_path, parser, print_json, progress, say
from vaezoo.errors import InputError
from vaezoo.evaluation.results import add_row, check_results
from vaezoo.nn.dtypes import DTYPES
from vaezoo.specs.faults import unknown

FORMATS = {"contiguous": False, "channels_last": True, "auto": None}
Case = tuple[str, str, int, int, str, bool | None]  # name, what, size, batch, dtype, channels_last


def main(arguments: list[str]) -> None:
    options = _options(arguments)
    cases = list(_cases(options))
    if options.out:
        check_results(options.out, COLUMNS, "benchmark", FIRST_COLUMNS)
    for case in cases:  # check all of them before the first is measured
        if options.budget is not None:
            check_budget(options.budget, case[1])
        make_case(*case, options.device, **_fast_path(options))
        for peer in options.peer:
            make_case(*case, options.device, peer)
    rows = []
    for case, peer in progress(list(itertools.product(cases, options.peer or [None])), "vaezoo benchmark"):
        for row in _measured(case, peer, options):
            rows.append(row)
            if options.out:
                add_row(options.out, row, COLUMNS, "benchmark", FIRST_COLUMNS)
            if not options.json:
                say(_line(row))
    if options.json:
        print_json(rows)
    else:
        for found in exponents(rows):
            say(f"{found.text}: time grows with pixels ^ {found.exponent:.2f} ({found.smallest} to {found.largest})")


def _options(arguments: list[str]) -> Namespace:
    arguments_parser = parser("benchmark", __doc__)
    arguments_parser.add_argument("names", nargs="+", help="models, hf-hub:…, local-dir:… or YAML files")
    add = arguments_parser.add_argument
    add("--sizes", default="256", help="pixels per side, separated by commas (default: 256)")
    add("--what", help=f"steps of {', '.join(STEPS)} (default: encode,decode and, unless they are optimized, train)")
    add("--dtypes", help=f"dtypes of {', '.join(DTYPES)}, auto (default: fp32; auto with --fast)")
    add("--formats", help=f"memory formats of {', '.join(FORMATS)} (default: contiguous; auto with --fast)")
    add_fast_and_tile(arguments_parser)
    add(
        "--return-memory",
        action="store_true",
        help="with --fast: do not keep freed memory, like vaezoo.optimize by default",
    )
    add("--batch", type=int, default=1, help="images per step (default: 1)")
    add("--device", default="cpu", help="cpu (default), cuda, cuda:1, mps")
    add("--repeats", type=int, default=5, help="number of timed steps (default: 5)")
    add("--warmup", type=int, default=1, help="number of steps before them (default: 1)")
    add(
        "--peer",
        choices=PEERS,
        action="append",
        default=[],
        help="also measure the same network of another implementation, step by step in turn; may be repeated",
    )
    add("--peer-defaults", action="store_true", help="run the peer in float32 and contiguous, whatever ours runs in")
    add("--budget", type=float, metavar="MIB", help="also find the largest batch within this memory")
    add("--out", type=local_path, help="a CSV file to add the rows to")
    add_json(arguments_parser)
    options = arguments_parser.parse_args(arguments)
    if options.peer_defaults and not options.peer:
        raise InputError("--peer-defaults is about the peer; add --peer")
    optimized = options.fast or options.tile is not None
    options.what = options.what or ("encode,decode" if optimized else "encode,decode,train")
    options.dtypes = options.dtypes or ("auto" if options.fast else "fp32")
    options.formats = options.formats or ("auto" if options.fast else "contiguous")
    return options


def _cases(options: Namespace) -> Iterator[Case]:
    """Yield the arguments of every row; loading depends on name and dtype only."""
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
        if what != "load" or (size, channels_last) == (sizes[0], FORMATS[formats[0]]):
            yield name, what, size, options.batch, dtype, channels_last


def _fast_path(options: Namespace) -> dict[str, Any]:
    return {"fast": options.fast, "tile": options.tile, "keep_memory": not options.return_memory}


def _measured(case: Case, peer: str | None, options: Namespace) -> list[BenchmarkRow]:
    """Measure a case and return its row, with a peer followed by that of the peer."""
    run, path = (options.device, options.repeats, options.warmup), _fast_path(options)
    if peer:
        rows = list(measure_beside(peer, *case, *run, peer_defaults=options.peer_defaults, **path))
    else:
        rows = [measure(*case, *run, **path)]
    if options.budget is not None and not rows[0]["error"]:
        name, what, size, _, dtype, channels_last = case
        rows[0] |= largest_batch(name, what, size, options.budget, dtype, channels_last, options.device, **path)
    return rows


def _line(row: BenchmarkRow) -> str:
    """Format a row as one line of text."""
    line = f"{row['model']} {row['what']} ({_conditions(row)}): "
    if row["error"]:
        return f"{line}failed: {row['error']}"
    line += f"{row['seconds']:.4g} s ({row['seconds_q1']:.4g} to {row['seconds_q3']:.4g}), "
    if row["images_per_second"] is not None:
        line += f"{row['images_per_second']:.3g} images/s, "
    grown = row["peak_rss_growth_mib"]
    line += f"{row['peak_allocated_mib']:,.0f} MiB" if grown is None else f"process grew by {grown:,.0f} MiB"
    if row["matmul_share"] is not None:
        line += f", {row['matmul_share']:.0%} of the speed of a matrix product"
    if row["time_ratio"] is not None:
        line += f"; {row['time_ratio']:.2f} x the time of {row['against']}, {row['cpu_ratio']:.2f} x its processor time"
    if row["memory_ratio"] is not None:
        line += f", {row['memory_ratio']:.2f} x its memory"
    if row["largest_batch"] is not None:
        line += f"; largest batch within {row['budget_mib']:,.0f} MiB: {row['largest_batch']}"
    return line


def _conditions(row: BenchmarkRow) -> str:
    """Name the conditions of a row."""
    parts = [row["implementation"], path_text(row)]
    if row["size"] is not None:
        parts += [f"{row['size']} pixels", f"batch {row['batch']}"]
    return ", ".join(part for part in (*parts, row["dtype"], row["memory_format"]) if part)
