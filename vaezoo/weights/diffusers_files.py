"""The files of a folder that diffusers wrote."""

from pathlib import Path

from vaezoo.weights.config_json import CONFIG
from vaezoo.weights.folders import Folder

STEM = "diffusion_pytorch_model"
PIPELINE = "model_index.json"


def config_file(folder: Folder) -> Path:
    """The `config.json` of a folder, whoever wrote it.

    Raises:
        FileError: If a folder on disk has none; of a whole pipeline the text names the VAE's subfolder.
        HubError: If one on a Hub has none.
    """
    if path := folder.find(CONFIG):
        return path
    if folder.find(PIPELINE):
        hint = f"; its VAE is {folder.name.below('vae').text}" if folder.find(f"vae/{CONFIG}") else ""
        raise folder.error(f"a whole pipeline ({PIPELINE}) and not a VAE{hint}")
    return folder.read(CONFIG)


def weights_file(folder: Folder, variant: str | None) -> Path:
    """The weights of a folder in diffusers layout; without `variant` the plain ones, or fp16 where there are no others.

    Raises:
        FileError: If a folder on disk has none, or none in one safetensors file.
        HubError: If one on a Hub has none.
    """
    infix = f".{variant}" if variant else ""
    plain = f"{STEM}{infix}.safetensors"
    if path := folder.find(plain):
        return path
    index = f"{STEM}.safetensors.index{infix}.json"
    if folder.find(index):
        raise folder.error(f"weights in several files ({index}); only one file is read, {plain}: save it again in one")
    half = None if variant else folder.find(f"{STEM}.fp16.safetensors")
    return half or folder.read(plain)
