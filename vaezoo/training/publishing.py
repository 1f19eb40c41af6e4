"""What a run measures and shows of its model: latent statistics, and pictures."""

from collections.abc import Sequence
from pathlib import Path

import torch

from vaezoo.evaluation.latents import ChannelStats
from vaezoo.evaluation.metrics import psnr
from vaezoo.evaluation.photos import Photo
from vaezoo.evaluation.pictures import case_sheet
from vaezoo.evaluation.tally import Case
from vaezoo.files import make_folder
from vaezoo.images import resize_and_crop, save_picture, to_tensor
from vaezoo.nn.vae import VAE
from vaezoo.specs.stats import LatentStats
from vaezoo.training.data import Crop, Crops, Stream, to_images
from vaezoo.training.recipe import Recipe

GRIDS = "grids"
GRID_PHOTOS = 4
MEASURED = 64  # crops


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
    """A picture of the first validation photos, as `case_sheet` draws it, of the posterior's mode."""
    cases = []
    for index, photo in enumerate(photos[:GRID_PHOTOS]):
        images = to_tensor(resize_and_crop(photo.read(), recipe.validation.size))
        with torch.inference_mode():
            out = vae(images.to(vae.device), sample=False)
        reconstruction = out.reconstruction.cpu()
        cases.append(Case(index, psnr(images, reconstruction).item(), images, reconstruction, out.latents.cpu()))
    path = make_folder(run / GRIDS) / f"step_{step:09d}.jpg"
    save_picture(case_sheet(cases), path)
    return path
