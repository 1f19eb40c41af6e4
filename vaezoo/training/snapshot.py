"""What a run measures and shows of its model: latent statistics, pictures, and how it was trained."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from vaezoo.data.photos import Photo
from vaezoo.evaluation.case_sheet import case_sheet
from vaezoo.evaluation.latents.channels import ChannelStats
from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.evaluation.tally import Case
from vaezoo.io.files import make_folder
from vaezoo.io.images import resize_and_crop, save_picture, to_tensor
from vaezoo.nn.vae import VAE
from vaezoo.specs.stats import LatentStats
from vaezoo.training.checkpoint import checkpoints, step_of
from vaezoo.training.crops import Crop, Crops, Stream, to_images
from vaezoo.training.log import read_log
from vaezoo.training.recipe_schema import Recipe
from vaezoo.training.recipes import read_recipe, recipe_text
from vaezoo.version import __version__

RECIPE = "recipe.yaml"
GRIDS = "grids"
GRID_PHOTOS = 4
MEASURED = 64  # crops
PROTOCOL = "reconstruction-1"  # of validations


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


def training_text(run: Path) -> str | None:
    """For the model card: how far the run got whose weights are published, how good they are, and its recipe.

    None where the folder holds no run. Folders of this machine are named without the way to them.
    """
    if not (run / RECIPE).is_file():
        return None
    recipe, kept = read_recipe(run / RECIPE), checkpoints(run)
    step = step_of(kept[-1]) if kept else 0
    said = [f"{step:,} of {recipe.steps:,} steps by this recipe of vaezoo {__version__}."]
    if judged := [line for line in read_log(run) if "psnr" in line and line["step"] <= step]:
        last, where = judged[-1], recipe.validation
        photos = f"{Path(where.root).resolve().name if where.root else 'the sample photos'} at {where.size} pixels"
        said.append(f"PSNR over {photos} after step {last['step']:,}: {last['psnr']:.2f} dB (protocol {PROTOCOL}).")
    return f"{' '.join(said)}\n\n```yaml\n{recipe_text(_without_ways(recipe))}```"


def _without_ways(recipe: Recipe) -> Recipe:
    data, validation = (
        replace(part, root=part.root and Path(part.root).resolve().name) for part in (recipe.data, recipe.validation)
    )
    network, pretrained = (_without_way(x) if isinstance(x, str) else x for x in (recipe.network, recipe.pretrained))
    return replace(recipe, data=data, validation=validation, network=network, pretrained=pretrained)


def _without_way(name: str) -> str:
    if name.startswith("hf-hub:"):
        return name
    source, colon, path = name.rpartition(":")
    return source + colon + ",".join(Path(part).name for part in path.split(","))
