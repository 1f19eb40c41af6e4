"""Tables of `docs/performance.md`, from `docs/results/performance.csv` and `docs/results/decode_profile.csv`."""

import csv
from collections import defaultdict

from result_tables import RESULTS, table_of

from vaezoo.benchmark.benchmark_row import COLUMNS
from vaezoo.benchmark.scaling import exponents, path_text
from vaezoo.evaluation.results import check_results

MACHINE = ("hardware", "cpu_features", "threads", "torch")
Rows = list[dict[str, str]]


def performance() -> str:
    """A table per machine: our time and memory of each step, and how many times that is those of the peer."""
    titles = ["network", "step", "pixels", "how", "seconds (quartiles)", "MiB", "matrix speed", "against"]
    head = [" | ".join([*titles, "times faster", "by processor time", "memory"])]
    head.append("--- | --- | --: | --- | --: | --: | --: | --- | --: | --: | --:")
    tables = []
    for machine, rows in by_machine().items():
        ours = [row for row in rows if row["implementation"] == "vaezoo"]
        tables.append(f"{machine}\n\n{table_of([*head, *(_cells(row) for row in ours)])}")
    return "\n\n".join(tables)


def by_machine() -> dict[str, Rows]:
    """The rows of each machine, in the order of the file."""
    groups: dict[str, Rows] = defaultdict(list)
    diffusers = {}
    for row in check_results(RESULTS / "performance.csv", COLUMNS, "benchmark"):
        machine = machine_of(row)
        groups[machine].append(row)
        if row["diffusers"]:
            diffusers[machine] = f", diffusers {row['diffusers']}"
    return {f"{machine}{diffusers.get(machine, '')}:": rows for machine, rows in groups.items()}


def machine_of(row: dict[str, str]) -> str:
    """Name the machine of a row, with what decides on its speed."""
    hardware, features, threads, torch = (row[name] for name in MACHINE)
    return f"{hardware} ({features}), {threads} threads, torch {torch}" if threads else hardware


def how(row: dict[str, str]) -> str:
    """Name the path, dtype and memory format of a row."""
    path = path_text(row) or "plain"
    return ", ".join(part for part in (path, row["dtype"], row["memory_format"]) if part)


def _cells(row: dict[str, str]) -> str:
    step = f"`{row['model']}` | {row['what']} | {row['size']} | {how(row)}"
    if row["error"]:
        return f"{step} | {row['error']} | | | {row['against']} | | |"
    time = "{} ({} to {})".format(*(f"{float(row[key]):.3g}" for key in ("seconds", "seconds_q1", "seconds_q3")))
    memory = float(row["peak_rss_growth_mib"] or row["peak_allocated_mib"])
    share = f"{float(row['matmul_share']):.0%}" if row["matmul_share"] else ""
    faster, by_processor = (f"{1 / float(row[key]):.2f}" if row[key] else "" for key in ("time_ratio", "cpu_ratio"))
    ratio = f"{float(row['memory_ratio']):.2f}" if row["memory_ratio"] else ""
    return " | ".join((step, time, f"{memory:,.0f}", share, row["against"], faster, by_processor, ratio))


def scaling() -> str:
    """Table of the exponents of time over pixels."""
    rows = ["machine | what | pixels | exponent", "--- | --- | --- | --:"]
    for machine, measured in by_machine().items():
        for fit in exponents(measured):
            rows.append(f"{machine.rstrip(':')} | {fit.text} | {fit.smallest} to {fit.largest} | {fit.exponent:.2f}")
    return table_of(rows)


def decode_profile() -> str:
    """A table per dtype of the profile: seconds of each kind of operation, and its share of the time."""
    with (RESULTS / "decode_profile.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    tables = []
    for about in dict.fromkeys(_about(row) for row in rows):
        some = [row for row in rows if _about(row) == about]
        paths, kinds = (list(dict.fromkeys(row[key] for row in some)) for key in ("path", "kind"))
        table = [f"operation | {' | '.join(paths)}", f"--- | {' | '.join('--:' for _ in paths)}"]
        seconds = {(row["path"], row["kind"]): float(row["seconds"]) for row in some}
        totals = {path: sum(seconds[path, kind] for kind in kinds) for path in paths}
        for kind in kinds:
            cells = (f"{seconds[path, kind]:.2f} s ({seconds[path, kind] / totals[path]:.0%})" for path in paths)
            table.append(f"{kind} | {' | '.join(cells)}")
        table.append(f"all | {' | '.join(f'{totals[path]:.2f} s' for path in paths)}")
        tables.append(f"{about}:\n\n{table_of(table)}")
    return "\n\n".join(tables)


def row_profile() -> str:
    """Table of the rows of a network, as measured by `scripts/profile_rows.py`."""
    with (RESULTS / "row_profile.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    table = ["row | block | result | GMACs | as it is | fast | times faster", "--- | --- | --- | --: | --: | --: | --:"]
    for row in rows:
        plain, fast, gmacs = (float(row[key]) for key in ("seconds", "fast_seconds", "gmacs"))
        cells = (f"{seconds:.3f} s ({gmacs / seconds:.0f} GMACs/s)" for seconds in (plain, fast))
        names = (f"`{row['row']}`", row["block"], row["shape"].replace("x", " x "), f"{gmacs:.1f}")
        table.append(" | ".join((*names, *cells, f"{plain / fast:.2f}")))
    return f"{_about(rows[0] | {'dtype': 'fp32'})}:\n\n{table_of(table)}"


def encoding() -> str:
    """Table of ways to encode a data set, as measured by `scripts/benchmark_encode.py`."""
    with (RESULTS / "encode.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    first = rows[0]
    table = ["way | photos per second | times faster | than", "--- | --: | --: | ---"]
    table += [f"{row['way']} | {row['photos_per_second']} | {row['ratio']} | {row['compared_with']}" for row in rows]
    about = f"{first['photos']} photos at {first['size']} pixels, {first['hardware']}, {first['threads']} threads"
    return f"`{first['network']}`, {about}, torch {first['torch']}:\n\n{table_of(table)}"


def _about(row: dict[str, str]) -> str:
    return f"`{row['network']}`, {row['size']} pixels, {row['dtype']} channels_last, {machine_of(row)}"
