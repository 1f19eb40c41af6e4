"""One run of an ablation, in a process of its own: `python -m vaezoo.ablation.run_worker FOLDER`."""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from vaezoo.ablation.run_results import RECIPE, RESULT, TRAIN, write_result
from vaezoo.data.photos import Photo, photo_files, photos
from vaezoo.distributed import process_group
from vaezoo.evaluation.nets.registry import open_nets
from vaezoo.evaluation.protocol import LATEST, evaluate
from vaezoo.evaluation.results import hardware, row_of
from vaezoo.io.images import resize_and_crop, save_picture, to_tensor
from vaezoo.jobs.claims import claim
from vaezoo.nn.vae import VAE
from vaezoo.specs.catalog import sample_photos
from vaezoo.training.display import Display
from vaezoo.training.recipe_schema import ValidationConfig
from vaezoo.training.recipes import read_recipe
from vaezoo.training.run import RECIPE as BEGUN
from vaezoo.training.run import train
from vaezoo.zoo.create import create

TAKEN, STOPPED = 75, 130  # exit statuses: somebody else has the run; it was stopped and saved
SHOWN, SIDE = 4, 128  # photos of the report, and pixels per side of the crops of them


def main(arguments: list[str]) -> int:
    """Train, judge and write the result of the run that a folder describes, unless it is done or claimed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nets", nargs="*", default=[])
    parser.add_argument("--device")
    parser.add_argument("--release", nargs="*", default=[])
    options = parser.parse_args(arguments)
    if other := claim(options.folder, options.release):
        print(f"claimed by {other}")
        return TAKEN
    if (options.folder / RESULT).exists():
        return 0
    recipe, run = read_recipe(options.folder / RECIPE), options.folder / TRAIN
    display = Display(recipe)
    with process_group(options.device) as group:
        report = train(recipe, run, group, (run / BEGUN).exists(), display.say, display.show)
        if report.stopped:
            return STOPPED
        vae = create(f"local-dir:{run}", pretrained=True, device=group.device)
    figures = {"steps": recipe.steps, "seconds": report.progress.seconds}
    figures |= judge(vae, recipe.validation, options.nets)
    show(vae, recipe.validation, options.folder)
    write_result(options.folder, figures)
    return 0


def judge(vae: VAE, how: ValidationConfig, names: list[str]) -> dict[str, Any]:
    """The columns of `vaezoo evaluate` by its latest protocol; None for what was not measured."""
    opened, _ = open_nets(names, vae.device)
    result = evaluate(vae, _photos(how), how.size, LATEST, nets=opened)
    return row_of(result, {"nets": " ".join([*opened.distances, *opened.features]), "hardware": hardware(vae.device)})


def show(vae: VAE, how: ValidationConfig, folder: Path) -> None:
    """Write the middle of the first photos, and of what the model makes of them: `input_N.png` and `output_N.png`."""
    for index, photo in enumerate(_photos(how)[:SHOWN]):
        images = to_tensor(resize_and_crop(photo.read(), how.size))
        with torch.inference_mode():
            outputs = vae(images.to(vae.device), sample=False).reconstruction.cpu()
        start, side = max(0, (how.size - SIDE) // 2), min(SIDE, how.size)
        for name, picture in (("input", images), ("output", outputs)):
            save_picture(picture[:, :, start : start + side, start : start + side], folder / f"{name}_{index}.png")


def _photos(how: ValidationConfig) -> list[Photo]:
    return photos(how.root) if how.root else photo_files(sample_photos())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
