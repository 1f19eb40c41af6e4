"""Measure a model's reconstruction on a folder of photos, by one protocol."""

import csv
from pathlib import Path

import torch

import vaezoo
from vaezoo.console import add_json, add_model_arguments, parser, pretrained, print_json, progress
from vaezoo.errors import FileError
from vaezoo.evaluation.protocol import PROTOCOL, evaluate, photos
from vaezoo.files import replacing

COLUMNS = [
    *("model", "protocol", "data", "images", "size", "dtype", "psnr"),
    *("latent_mean", "latent_std", "posterior_std", "spec_hash", "vaezoo", "torch"),
]


def main(arguments: list[str]) -> None:
    arguments_parser = parser("evaluate", __doc__)
    arguments_parser.add_argument("names", nargs="+", help="models")
    arguments_parser.add_argument("--data", type=Path, required=True, help="a folder of photos")
    arguments_parser.add_argument("--size", type=int, default=256, help="pixels per side (default: 256)")
    arguments_parser.add_argument("--out", type=Path, help="a CSV file to add one row a model to")
    add_model_arguments(arguments_parser)
    add_json(arguments_parser)
    options = arguments_parser.parse_args(arguments)

    paths, results = photos(options.data), []
    before = _rows_of(options.out) if options.out else []
    for name in options.names:
        vae = pretrained(name, options)
        result = evaluate(vae, paths, options.size, lambda paths, name=name: progress(paths, name))
        row = _row(name, vae, result, options)
        results.append({**row, "psnr_of": dict(zip(result.names, result.psnr, strict=True))})
        if options.out:
            before.append(row)
            _write(before, options.out)
        if not options.json:
            print(f"{name}: {result.mean_psnr:.2f} dB over {len(paths)} images at {options.size}x{options.size}")
    if options.json:
        print_json(results)


def _row(name: str, vae, result, options) -> dict:
    values = (
        name,
        PROTOCOL,
        options.data.resolve().name,
        len(result.psnr),
        options.size,
        options.dtype,
        round(result.mean_psnr, 3),
        " ".join(f"{v:.4f}" for v in result.latent_mean),
        " ".join(f"{v:.4f}" for v in result.latent_std),
        f"{result.posterior_std:.5f}",
        vae.spec.hash[:12],
        vaezoo.__version__,
        torch.__version__.partition("+")[0],
    )
    return dict(zip(COLUMNS, values, strict=True))


def _rows_of(path: Path) -> list[dict]:
    """The rows that a results file has already; looked at before the work, not after it."""
    if not path.parent.is_dir():
        raise FileError(f"{path}: cannot be written (there is no folder {path.parent})")
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != COLUMNS:
            raise FileError(f"{path}: its columns are not those of vaezoo evaluate; name another file")
        return list(reader)


def _write(rows: list[dict], path: Path) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
