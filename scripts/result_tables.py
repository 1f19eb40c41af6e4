"""Tables of results, from the files in `docs/results`."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

from vaezoo.benchmark.benchmark_row import COLUMNS as BENCHMARK_COLUMNS
from vaezoo.benchmark.benchmark_row import FIRST_COLUMNS
from vaezoo.evaluation.results import check_results

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"


def taesd() -> str:
    """Table of the published TAESD files, as measured by `scripts/measure_taesd.py`."""
    with (RESULTS / "taesd.csv").open(newline="", encoding="utf-8") as file:
        measured = list(csv.DictReader(file))
    rows = ["weights | network | PSNR (dB) | measured on", "--- | --- | --: | ---"]
    for row in measured:
        where = f"{row['images']} images of photos/{row['data']} at {row['size']}x{row['size']}, {row['protocol']}"
        rows.append(f"`{row['weights']}` | `{row['network']}` | {float(row['psnr']):.2f} | {where}")
    return table_of(rows)


def latent_sizes() -> str:
    """Table of latents at several image sizes, as measured by `scripts/measure_latent_sizes.py`."""
    with (RESULTS / "latent_sizes.csv").open(newline="", encoding="utf-8") as file:
        measured = list(csv.DictReader(file))
    rows = [
        "weights | size | mean per channel | std per channel | after `normalize`: mean | std",
        "--- | --: | --- | --- | --- | ---",
    ]
    for row in measured:
        shown = (
            ", ".join(f"{float(value):.2f}" for value in row[key].split())
            for key in ("mean", "std", "normalized_mean", "normalized_std")
        )
        size = f"**{row['size']}**" if row["size"] == row["measured_at"] else row["size"]
        rows.append(f"`{row['model']}` | {size} | {' | '.join(shown)}")
    return table_of(rows)


def results() -> str:
    """Tables of the results file: reconstruction, then the latents of the rows that have all figures."""
    rows = check_results(RESULTS / "reconstruction.csv")
    quality = {"PSNR (dB)": "psnr", "± over images": "psnr_std", "SSIM": "ssim", "MS-SSIM": "ms_ssim"}
    quality |= {"luma": "luma_error", "chroma": "chroma_error", "LPIPS (VGG)": "lpips_vgg", "rFID": "rfid"}
    quality |= {"flat error": "flat_error"}
    latents = {
        "KL, nats per value and channel": "kl",
        "active": "active_units",
        "posterior / latent std": "posterior_share",
    }
    latents |= {"correlation": "latent_correlation", "slope": "spectrum_slope", "high share": "high_share"}
    latents |= {"turn error": "turn_error", "scale error": "scale_error"}
    return f"{_figures_of(rows, quality)}\n\n{_figures_of([row for row in rows if row['kl']], latents)}"


def _figures_of(rows: list[dict[str, str]], columns: Mapping[str, str]) -> str:
    """Table of results: weights, conditions, and the columns for which any row has a figure."""
    columns = {title: name for title, name in columns.items() if any(row[name] for row in rows)}
    table = [f"weights | measured on | {' | '.join(columns)}", f"--- | --- | {' | '.join('--:' for _ in columns)}"]
    for row in rows:
        where = f"{row['images']} images of photos/{row['data']} at {row['size']}, {row['protocol']}, {row['latents']}"
        table.append(f"`{row['model']}` | {where} | {' | '.join(_short(row[name]) for name in columns.values())}")
    return table_of(table)


def _short(cell: str) -> str:
    """Shorten the figures of a cell to the digits that a table needs, and keep counts as they are."""
    numbers = (f"{float(v):.2f}" if abs(float(v)) >= 1 else f"{float(v):.2g}" for v in cell.split())
    return ", ".join(numbers) if "." in cell else cell


def tiles() -> str:
    """Table of what tiles of diffusers and strips change in an image that is decoded as a whole."""
    with (RESULTS / "tiles.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    rows = ["photo | decoded in | PSNR (dB) | largest error | largest tone shift", "--- | --- | --: | --: | --:"]
    for row in found:
        figures = " | ".join(row[key] for key in ("psnr", "largest_error", "largest_tone_shift"))
        rows.append(f"{row['photo']} | {row['how']} of {row['tile']} pixels | {figures}")
    return table_of(rows)


def benchmark() -> str:
    """Table of the benchmark file: time and memory of steps, with ratios to the peer if there is one."""
    found = check_results(RESULTS / "benchmark.csv", BENCHMARK_COLUMNS, "benchmark", FIRST_COLUMNS)
    titles = ["network", "step", "pixels", "batch", "dtype", "memory format", "seconds (quartiles)"]
    titles += ["processor seconds", "images/s", "MiB", "time, processor time, memory by diffusers'"]
    rows = [" | ".join(titles), "--- | --- | --: | --: | --- | --- | --: | --: | --: | --: | --:"]
    for row in found:
        peer = row["implementation"] != "vaezoo"
        name = f"`{row['model']}`, diffusers'" if peer else f"`{row['model']}`"
        time = "{} ({} to {})".format(*(f"{float(row[key]):.3g}" for key in ("seconds", "seconds_q1", "seconds_q3")))
        memory = float(row["peak_rss_growth_mib"] or row["peak_allocated_mib"])
        ratios = ", ".join(f"{float(row[key]):.2f}" for key in ("time_ratio", "cpu_ratio", "memory_ratio") if row[key])
        step = " | ".join(row[key] for key in ("what", "size", "batch", "dtype", "memory_format"))
        cpu, speed = (f"{float(row[key]):.3g}" for key in ("cpu_seconds", "images_per_second"))
        rows.append(f"{name} | {step} | {time} | {cpu} | {speed} | {memory:,.0f} | {ratios}")
    return table_of(rows)


def runs() -> str:
    """Table of the runs whose log is kept: steps, hours and PSNR."""
    rows = ["run | steps | hours | PSNR (dB) on photos/val at 256", "--- | --: | --: | ---"]
    for path in sorted((RESULTS / "runs").glob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        validations = [f"{line['psnr']:.2f} after {line['step']:,} steps" for line in lines if "psnr" in line]
        hours = max(line.get("seconds", 0) for line in lines) / 3600
        some = dict.fromkeys([*validations[:: max(1, len(validations) // 3)], validations[-1]])
        rows.append(f"`{path.stem}` | {lines[-1]['step']:,} | {hours:.2f} | {', '.join(some)}")
    return table_of(rows)


def answer(name: str) -> str:
    """Answer, conditions and table of an ablation of `configs/ablations`, from its report."""
    report = (RESULTS / "ablations" / name / "report.md").read_text(encoding="utf-8")
    text, _, table = report.partition("\n## Plots")[0].partition("\n\n")[2].partition("## Variants")
    links = f"[Report](results/ablations/{name}/report.md), [rows](results/ablations/{name}/results.csv)."
    return "\n\n".join((text.strip(), table.strip(), links))


def table_of(rows: list[str]) -> str:
    """Format rows of cells as a Markdown table."""
    return "\n".join(f"| {row} |" for row in rows)
