"""Measure the latents of photos at several sizes: `python scripts/measure_latent_sizes.py PHOTOS MODEL…`.

Writes `docs/results/latent_sizes.csv`, from which `make_tables.py` makes the table of `docs/latents.md`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from csv_rows import write_rows

import vaezoo
from vaezoo.data.photos import Photo, photos
from vaezoo.evaluation.latents.channels import ChannelStats
from vaezoo.io.images import to_tensor
from vaezoo.io.resize_and_pad import resize_and_crop

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "latent_sizes.csv"
SIZES = (64, 128, 256, 512)


def latent_sizes(vae: vaezoo.VAE, found: Sequence[Photo], size: int) -> dict[str, str]:
    """Return mean and standard deviation per channel, raw and normalized, of the posterior modes at one size."""
    raw, normalized = ChannelStats(), ChannelStats()
    with torch.inference_mode():
        for photo in found:
            z = vae.encode(to_tensor(resize_and_crop(photo.read(), size))).mode()
            raw.add(z)
            normalized.add(vae.normalize(z))
    figures = {"mean": raw.mean(), "std": raw.std()}
    figures |= {"normalized_mean": normalized.mean(), "normalized_std": normalized.std()}
    return {key: " ".join(f"{value:.4f}" for value in values.tolist()) for key, values in figures.items()}


def main(folder: str, *models: str) -> None:
    """Measure all models at all sizes and write the file."""
    found, rows = photos(folder), []
    for name in models:
        vae = vaezoo.create(name, pretrained=True)
        about = {"model": f"{vae.source.network}.{vae.source.tag}", "measured_at": vae.latent_stats.size}
        about |= {"data": Path(folder).resolve().name, "images": len(found)}
        rows += [{**about, "size": size, **latent_sizes(vae, found, size)} for size in SIZES]
    write_rows(RESULTS, rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
