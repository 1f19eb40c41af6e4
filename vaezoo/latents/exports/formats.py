"""`export_latents`: write a folder of latents in the layout of another trainer."""

from collections.abc import Callable
from pathlib import Path

from vaezoo.errors import InputError
from vaezoo.latents.exports.kohya_npz import EXPORTS as KOHYA
from vaezoo.latents.exports.lightningdit import export_lightningdit
from vaezoo.latents.exports.stored_latents import ExportSettings
from vaezoo.latents.exports.webdataset_tars import export_webdataset
from vaezoo.latents.latent_folder import LatentFolder, open_folder
from vaezoo.specs.faults import unknown

Export = Callable[[LatentFolder, Path, ExportSettings], str]
EXPORTS: dict[str, Export] = {"lightningdit": export_lightningdit, "webdataset": export_webdataset, **KOHYA}


def export_latents(folder: str | Path, out: str | Path, form: str, *, sample: bool = True, seed: int = 0) -> str:
    """Write a folder of latents in the layout of another trainer; docs/latents.md describes each.

    Args:
        folder: Folder that `vaezoo encode` wrote.
        out: Folder to write. It must be new or empty, except for kohya's, which is the folder of the photos.
        form: "lightningdit", "webdataset", or "kohya-" with a trainer: "sd", "sdxl", "sd3" or "flux".
        sample: Whether to store one draw from each posterior, as these trainers do, or its mode. "webdataset" stores
            posteriors.
        seed: Seed of the draws.

    Returns:
        What was written, as a sentence.

    Raises:
        InputError: If there is no such layout, or the latents do not fit it.
        FileError: If a file cannot be read or written.
    """
    if form not in EXPORTS:
        raise InputError(unknown(form, list(EXPORTS), "export"))
    return EXPORTS[form](open_folder(folder), Path(out), ExportSettings(sample, seed))
