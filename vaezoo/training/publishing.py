"""What a run shows of its model: the published folder with measured latent statistics, and pictures."""

from collections.abc import Sequence
from pathlib import Path

import torch

from vaezoo.evaluation.latents import ChannelStats
from vaezoo.evaluation.photos import Photo
from vaezoo.files import make_folder
from vaezoo.images import resize_and_crop, save_picture, to_tensor
from vaezoo.nn.vae import VAE
from vaezoo.sharing.save import save
from vaezoo.sheets import difference, tile
from vaezoo.specs.stats import LatentStats
from vaezoo.training.data import Crop, Crops, Stream, to_images
from vaezoo.training.recipe import Recipe

GRIDS = "grids"
GRID_PHOTOS = 4
MEASURED = 64  # crops


def publish(vae: VAE, recipe: Recipe, crops: Crops | Stream, run: Path) -> None:
    """Write `config.json`, `model.safetensors` and `README.md` of a run, with latent statistics measured now.

    Raises:
        CheckpointError: If weights are not finite.
        FileError: If the folder cannot be written.
    """
    vae.latent_stats = latent_statistics(vae, recipe, crops)
    save(vae, run)


def latent_statistics(vae: VAE, recipe: Recipe, crops: Crops | Stream) -> LatentStats:
    """Mean and standard deviation per channel of the latents of 64 training crops, the same ones every time.

    Crops are of the largest size; latents are posterior modes.
    """
    stats, size = ChannelStats(), max(recipe.data.sizes)
    with torch.inference_mode(), torch.autocast(vae.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        for number in range(MEASURED):
            pixels = torch.from_numpy(crops.make(Crop(number, size)).copy()).permute(2, 0, 1)[None]
            stats.add(vae.encode(to_images(pixels, vae.device, recipe.channels_last)).mode().float())
    return LatentStats(mean=tuple(stats.mean().tolist()), std=tuple(stats.std().clamp(min=1e-6).tolist()))


def draw_grid(vae: VAE, recipe: Recipe, photos: Sequence[Photo], run: Path, step: int) -> Path:
    """A picture of the first validation photos: input, reconstruction (posterior mode), difference x4."""
    rows = []
    for photo in photos[:GRID_PHOTOS]:
        images = to_tensor(resize_and_crop(photo.read(), recipe.validation.size))
        with torch.inference_mode():
            reconstruction = vae(images.to(vae.device), sample=False).reconstruction.cpu()
        rows.append([images, reconstruction, difference(images, reconstruction)])
    path = make_folder(run / GRIDS) / f"step_{step:09d}.jpg"
    save_picture(tile(rows), path)
    return path
