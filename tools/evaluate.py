"""Measure a model's reconstruction on a folder of photos, by one protocol."""

import csv
from dataclasses import asdict
from pathlib import Path

import torch

import vaezoo
from vaezoo.console import add_json, add_model_arguments, parser, pretrained, print_json, progress
from vaezoo.evaluation.protocol import PROTOCOL, evaluate, photos
from vaezoo.files import replacing


def main(arguments: list[str]) -> None:
    arguments_parser = parser("evaluate", __doc__)
    arguments_parser.add_argument("names", nargs="+", help="models")
    arguments_parser.add_argument("--data", type=Path, required=True, help="a folder of photos")
    arguments_parser.add_argument("--size", type=int, default=256, help="pixels per side (default: 256)")
    arguments_parser.add_argument("--out", type=Path, help="a CSV file to add one row a model to")
    add_model_arguments(arguments_parser)
    add_json(arguments_parser)
    options = arguments_parser.parse_args(arguments)

    paths, rows = photos(options.data), []
    for name in options.names:
        vae = pretrained(name, options)
        result = evaluate(vae, paths, options.size, progress(paths, name))
        rows.append(_row(name, vae, result, options))
        if options.json:
            print_json({**rows[-1], "images": dict(zip(result.names, result.psnr, strict=True)), **asdict(result)})
        else:
            print(f"{name}: {result.mean_psnr:.2f} dB over {len(paths)} images at {options.size}x{options.size}")
    if options.out:
        _append(rows, options.out)


def _row(name: str, vae, result, options) -> dict:
    return {
        "model": name,
        "protocol": PROTOCOL,
        "data": options.data.resolve().name,
        "images": len(result.psnr),
        "size": options.size,
        "dtype": options.dtype,
        "psnr": round(result.mean_psnr, 3),
        "latent_mean": " ".join(f"{v:.4f}" for v in result.latent_mean),
        "latent_std": " ".join(f"{v:.4f}" for v in result.latent_std),
        "posterior_std": f"{result.posterior_std:.5f}",
        "spec_hash": vae.spec.hash[:12],
        "vaezoo": vaezoo.__version__,
        "torch": torch.__version__.partition("+")[0],
    }


def _append(rows: list[dict], path: Path) -> None:
    """The rows after those that the file has already."""
    before = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            before = list(csv.DictReader(file))
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows([*before, *rows])
