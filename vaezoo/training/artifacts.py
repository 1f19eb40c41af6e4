"""Artifacts that a run publishes with its weights: latent statistics, pictures, and text for the model card."""

from collections.abc import Sequence
from pathlib import Path

import torch

from vaezoo.data.crops import Crop, CropDataset, CropStream, to_images
from vaezoo.data.photos import Photo
from vaezoo.evaluation.case_sheet import case_sheet
from vaezoo.evaluation.latents.channels import ChannelStats
from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.evaluation.tally import Case
from vaezoo.io.escape import markdown_text
from vaezoo.io.files import make_folder
from vaezoo.io.images import save_picture, to_tensor
from vaezoo.io.resize_and_pad import resize_and_crop
from vaezoo.nn.vae import VAE
from vaezoo.specs.stats import LatentStats
from vaezoo.training.checkpoint import checkpoints, step_of
from vaezoo.training.log import read_log
from vaezoo.training.recipe_schema import Recipe
from vaezoo.training.recipes import folder_name, read_recipe, recipe_text, without_paths
from vaezoo.version import __version__

RECIPE = "recipe.yaml"
GRIDS = "grids"
GRID_PHOTOS = 4
STATISTICS_CROPS = 64
PROTOCOL = "reconstruction-1"  # of validations


def latent_statistics(vae: VAE, recipe: Recipe, crops: CropDataset | CropStream) -> LatentStats:
    """Measure the latents of the first 64 training crops, at the largest size and without `data.augment`.

    Args:
        vae: Network to measure; posterior modes are used.
        recipe: Its sizes, precision and memory format are used.
        crops: Training crops.

    Returns:
        Mean and standard deviation of each channel, and the size.
    """
    stats, size = ChannelStats(), max(recipe.data.sizes)
    with torch.inference_mode(), torch.autocast(vae.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        for number in range(STATISTICS_CROPS):
            pixels = torch.from_numpy(crops.make(Crop(number, size, augment=False)).pixels.copy()).permute(2, 0, 1)[
                None
            ]
            stats.add(vae.encode(to_images(pixels, vae.device, recipe.channels_last)).mode().float())
    std = stats.std().clamp(min=1e-6)
    return LatentStats(mean=tuple(stats.mean().tolist()), std=tuple(std.tolist()), size=size)


def draw_grid(vae: VAE, photos: Sequence[Photo], size: int, run: Path, step: int) -> Path:
    """Draw the reconstructions of the first photos to a JPEG file, as `case_sheet` does.

    Args:
        vae: Network; posterior modes are decoded.
        photos: Validation photos.
        size: Pixels per side.
        run: Run folder.
        step: Step of the run, for the file name.

    Returns:
        Path of the file.
    """
    cases = []
    for index, photo in enumerate(photos[:GRID_PHOTOS]):
        images = to_tensor(resize_and_crop(photo.read(), size))
        with torch.inference_mode():
            out = vae(images.to(vae.device), sample=False)
        reconstruction = out.reconstruction.cpu()
        cases.append(Case(index, psnr(images, reconstruction).item(), images, reconstruction, out.latents.cpu()))
    path = make_folder(run / GRIDS) / f"step_{step:09d}.jpg"
    save_picture(case_sheet(cases, [photo.name for photo in photos]), path)
    return path


def training_text(run: Path) -> str | None:
    """Describe the training of the published weights for the model card: steps, validation PSNR and recipe.

    Args:
        run: Run folder.

    Returns:
        Markdown, in which local paths are shortened to names, or `None` if the folder holds no run.
    """
    if not (run / RECIPE).is_file():
        return None
    recipe, saved = read_recipe(run / RECIPE), checkpoints(run)
    step = step_of(saved[-1]) if saved else 0
    sentences = [f"{step:,} of {recipe.steps:,} steps by this recipe of vaezoo {__version__}."]
    if validations := [line for line in read_log(run) if "psnr" in line and line["step"] <= step]:
        last, where = validations[-1], recipe.validation
        root = markdown_text(folder_name(where.root)) if where.root else "the sample photos"
        sentences.append(
            f"PSNR over {root} at {where.size} pixels after step {last['step']:,}: {last['psnr']:.2f} dB (protocol "
            f"{PROTOCOL})."
        )
    return f"{' '.join(sentences)}\n\n```yaml\n{recipe_text(without_paths(recipe))}```"
