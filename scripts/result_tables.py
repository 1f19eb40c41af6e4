"""Tables of what was measured, from the CSV files of `docs/results`."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

from vaezoo.benchmark import measure as measured
from vaezoo.evaluation.results import check_results

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"


def taesd() -> str:
    """One row a published pair of TAESD files: what `scripts/measure_taesd.py` measured."""
    with (RESULTS / "taesd.csv").open(newline="", encoding="utf-8") as file:
        measured = list(csv.DictReader(file))
    rows = ["weights | network | PSNR (dB) | measured on", "--- | --- | --: | ---"]
    for row in measured:
        where = f"{row['images']} images of photos/{row['data']} at {row['size']}x{row['size']}, {row['protocol']}"
        rows.append(f"`{row['weights']}` | `{row['network']}` | {float(row['psnr']):.2f} | {where}")
    return table_of(rows)


def results() -> str:
    """The rows of the results file: reconstruction, then latents of those that have all figures."""
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
    """One row a result: weights, conditions, and the columns of which any row has a figure."""
    columns = {title: name for title, name in columns.items() if any(row[name] for row in rows)}
    table = [f"weights | measured on | {' | '.join(columns)}", f"--- | --- | {' | '.join('--:' for _ in columns)}"]
    for row in rows:
        where = f"{row['images']} images of photos/{row['data']} at {row['size']}, {row['protocol']}, {row['latents']}"
        table.append(f"`{row['model']}` | {where} | {' | '.join(_short(row[name]) for name in columns.values())}")
    return table_of(table)


def _short(cell: str) -> str:
    """Figures with as many digits as a table needs; counts as they are."""
    numbers = (f"{float(v):.2f}" if abs(float(v)) >= 1 else f"{float(v):.2g}" for v in cell.split())
    return ", ".join(numbers) if "." in cell else cell


def benchmark() -> str:
    """The rows of the benchmark file: time and memory of steps, with ratios where there is a peer."""
    found = check_results(RESULTS / "benchmark.csv", measured.COLUMNS, "benchmark")
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
    """One row a run whose log is kept: how far it went, how long it took, how good it became."""
    rows = ["run | steps | hours | PSNR (dB) on photos/val at 256", "--- | --: | --: | ---"]
    for path in sorted((RESULTS / "runs").glob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        judged = [f"{line['psnr']:.2f} after {line['step']:,} steps" for line in lines if "psnr" in line]
        hours = max(line.get("seconds", 0) for line in lines) / 3600
        some = dict.fromkeys([*judged[:: max(1, len(judged) // 3)], judged[-1]])
        rows.append(f"`{path.stem}` | {lines[-1]['step']:,} | {hours:.2f} | {', '.join(some)}")
    return table_of(rows)


def answer(name: str) -> str:
    """Answer, conditions and table of an ablation of `configs/ablations`, as its report has them."""
    report = (RESULTS / "ablations" / name / "report.md").read_text(encoding="utf-8")
    said, _, table = report.partition("\n## Plots")[0].partition("\n\n")[2].partition("## Variants")
    links = f"[Report](results/ablations/{name}/report.md), [rows](results/ablations/{name}/results.csv)."
    return "\n\n".join((said.strip(), table.strip(), links))


def table_of(rows: list[str]) -> str:
    """Rows of a Markdown table, from their cells."""
    return "\n".join(f"| {row} |" for row in rows)
