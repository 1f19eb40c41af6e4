"""Measure the published TAESD files: `python scripts/measure_taesd.py WEIGHTS PHOTOS` writes `docs/results/taesd.csv`.

WEIGHTS is a folder of `taesd_encoder.safetensors`, `taesd_decoder.safetensors` and so on; PHOTOS is a folder of photos.
"""

import sys
from pathlib import Path

import torch
from csv_rows import write_rows

import vaezoo
from vaezoo.data.photos import photos
from vaezoo.evaluation.protocol import PROTOCOLS, evaluate

NAMES = ("taesd", "taesd3", "taef1", "taef2")
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "taesd.csv"
PROTOCOL = PROTOCOLS["reconstruction-1"]
SIZE = 256


def measure(name: str, weights: Path, folder: Path) -> dict[str, object]:
    """Measure the PSNR of one pair of files, and return its row."""
    paths = ",".join(str(weights / f"{name}_{half}.safetensors") for half in ("encoder", "decoder"))
    vae = vaezoo.create(f"file:{paths}")
    found = photos(folder)
    return {
        "weights": name,
        "network": vae.spec.name,
        "protocol": PROTOCOL.name,
        "data": folder.resolve().name,
        "images": len(found),
        "size": SIZE,
        "psnr": f"{evaluate(vae, found, SIZE, PROTOCOL).mean_psnr:.3f}",
        "spec_hash": vae.spec.hash[:12],
        "vaezoo": vaezoo.__version__,
        "torch": torch.__version__.partition("+")[0],
    }


def main(weights: str, folder: str) -> None:
    """Measure all pairs and write the file."""
    rows = [measure(name, Path(weights), Path(folder)) for name in NAMES]
    write_rows(RESULTS, rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
