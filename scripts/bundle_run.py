"""Bundle the weights of a run: `python scripts/bundle_run.py RUN TAG TRAIN VAL`.

Writes `configs/weights/NETWORK.TAG.safetensors` (bf16) and `docs/results/runs/NETWORK.TAG.jsonl`, and prints the
measured values of the record for `configs/weights/NETWORK.yaml`. TRAIN and VAL are folders of photos: latent statistics
are measured on TRAIN and PSNR on VAL, with the written file.
"""

import sys
from pathlib import Path

import torch

import vaezoo
from vaezoo.data.photos import photos
from vaezoo.evaluation.protocol import PROTOCOLS, evaluate
from vaezoo.io.files import sha256_of, write_text
from vaezoo.training.log import NAME

ROOT = Path(__file__).resolve().parents[1]
PROTOCOL = PROTOCOLS["reconstruction-1"]
SIZE = 256


def main(run: str, tag: str, train: str, val: str) -> None:
    """Write the files and print the record."""
    vae = vaezoo.create(f"local-dir:{run}", pretrained=True)
    network = vae.spec.name
    path = ROOT / "configs" / "weights" / f"{network}.{tag}.safetensors"
    vaezoo.export_checkpoint(vae, path, dtype=torch.bfloat16)
    (ROOT / "docs" / "results" / "runs").mkdir(parents=True, exist_ok=True)
    log = (Path(run) / NAME).read_text(encoding="utf-8")
    write_text(ROOT / "docs" / "results" / "runs" / f"{network}.{tag}.jsonl", log)
    stored = vaezoo.create(f"file:{path}", network=network)
    trained_on, evaluated = (evaluate(stored, photos(folder), SIZE, PROTOCOL) for folder in (train, val))
    mean, std = ([round(value, 4) for value in trained_on.figures[name]] for name in ("latent_mean", "latent_std"))
    print(f"{tag}:\n  source: {{file: {path.name}}}\n  layout: native\n  sha256: {sha256_of(path)}")
    print(f"  latent_stats:\n    size: {SIZE}\n    mean: {mean}\n    std: {std}")
    where = f"data: photos/{Path(val).resolve().name}, images: {len(evaluated.names)}, psnr: {evaluated.mean_psnr:.2f}"
    print(f"  metrics: {{protocol: {PROTOCOL.name}, {where}}}")


if __name__ == "__main__":
    main(*sys.argv[1:])
