"""One run of an ablation, in a process of its own: `python -m vaezoo.ablation.run_worker FOLDER`."""

import argparse
import errno
import re
import sys
from pathlib import Path
from typing import Any

import torch

from vaezoo.ablation.run_results import RESULT, write_result
from vaezoo.data.photos import Photo, photos
from vaezoo.distributed import process_group
from vaezoo.errors import VaezooError
from vaezoo.evaluation.nets.registry import open_nets
from vaezoo.evaluation.protocol import LATEST, evaluate
from vaezoo.evaluation.results import hardware, row_of
from vaezoo.io.escape import terminal_text
from vaezoo.io.folder_lock import folder_lock
from vaezoo.io.images import save_picture, to_tensor
from vaezoo.io.resize_and_pad import resize_and_crop
from vaezoo.io.temporary import sweep
from vaezoo.nn.vae import VAE
from vaezoo.training.artifacts import RECIPE
from vaezoo.training.display import Display
from vaezoo.training.longer import TRAIN
from vaezoo.training.published import averaged_vae
from vaezoo.training.recipe_schema import ValidationConfig
from vaezoo.training.recipes import read_recipe
from vaezoo.training.run import train

LOCKED, STOPPED, TEMPORARY = 75, 130, 74  # exit statuses: another process makes the run; stopped and saved; try again
FULL = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM)
LOCK_TIMEOUT = 2  # seconds; a scheduler that looks whether the run is free holds its lock for a moment
CROPS, CROP_SIZE = 4, 128  # number of crops that a report shows, and their pixels per side


def main(arguments: list[str]) -> int:
    """Train and evaluate the run of a folder and write its result, unless it is done or another process makes it.

    Returns:
        Exit status of the process: 0, `LOCKED`, `STOPPED` or `TEMPORARY`.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nets", nargs="*", default=[])
    parser.add_argument("--device")
    options = parser.parse_args(arguments)
    with folder_lock(options.folder, LOCK_TIMEOUT) as acquired:
        if not acquired:
            return LOCKED
        sweep(options.folder, owned=True)
        try:
            return 0 if (options.folder / RESULT).exists() else make_run(options.folder, options.nets, options.device)
        except (VaezooError, OSError, MemoryError, torch.OutOfMemoryError) as error:
            if not is_temporary(error):
                raise
            print(terminal_text(f"{type(error).__name__}: {error}"), file=sys.stderr)
            return TEMPORARY


def is_temporary(error: BaseException | None) -> bool:
    """Return whether an error, or one that it was raised from, is a full disk or a lack of memory."""
    while error:
        number = re.search(r"\(os error (\d+)\)", str(error))  # as safetensors reports it
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or getattr(error, "errno", None) in FULL:
            return True
        if number and int(number[1]) in FULL:
            return True
        error = error.__cause__
    return False


def make_run(folder: Path, nets: list[str], device: str | None) -> int:
    """Train, or resume, the run that a folder's recipe describes, evaluate it and write its result.

    Args:
        folder: Folder of the run, with its recipe.
        nets: Names of the networks that evaluate it, as for `open_nets`.
        device: Device to train on; `None` means a GPU if there is one, otherwise the CPU.

    Returns:
        0, or `STOPPED` if a signal stopped the training.
    """
    recipe, train_folder = read_recipe(folder / RECIPE), folder / TRAIN
    display = Display(recipe)
    with process_group(device) as group:
        report = train(recipe, train_folder, group, (train_folder / RECIPE).exists(), display.message, display.show)
        if report.stopped:
            return STOPPED
        vae = averaged_vae(train_folder, group.device)
    figures = {"steps": recipe.steps, "seconds": report.progress.seconds}
    figures |= evaluate_run(vae, recipe.validation, nets)
    save_crops(vae, recipe.validation, folder)
    write_result(folder, figures)
    return 0


def evaluate_run(vae: VAE, how: ValidationConfig, names: list[str]) -> dict[str, Any]:
    """Evaluate a trained variant by the latest protocol.

    Args:
        vae: The trained variant, in eval mode.
        how: Photos and size to evaluate at.
        names: Names of the networks, as for `open_nets`; one that is unavailable is left out.

    Returns:
        The columns of `vaezoo evaluate`; `None` for a figure that was not measured.
    """
    opened, _ = open_nets(names, vae.device)
    result = evaluate(vae, _photos(how), how.size, LATEST, nets=opened)
    return row_of(result, {"nets": " ".join([*opened.distances, *opened.features]), "hardware": hardware(vae.device)})


def save_crops(vae: VAE, how: ValidationConfig, folder: Path) -> None:
    """Write the center crops of the first photos and of their reconstructions as `input_N.png` and `output_N.png`.

    Args:
        vae: The trained variant, in eval mode.
        how: Photos, and the size in pixels per side to which they are brought first.
        folder: Existing folder to write to.
    """
    for index, photo in enumerate(_photos(how)[:CROPS]):
        images = to_tensor(resize_and_crop(photo.read(), how.size))
        with torch.inference_mode():
            outputs = vae(images.to(vae.device), sample=False).reconstruction.cpu()
        start, side = max(0, (how.size - CROP_SIZE) // 2), min(CROP_SIZE, how.size)
        for name, picture in (("input", images), ("output", outputs)):
            save_picture(picture[:, :, start : start + side, start : start + side], folder / f"{name}_{index}.png")


def _photos(how: ValidationConfig) -> list[Photo]:
    return photos(how.root)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
