"""Finding config and weights in a folder that diffusers wrote."""

from pathlib import Path

from vaezoo.weights.config_json import CONFIG
from vaezoo.weights.folders import Folder

STEM = "diffusion_pytorch_model"
PIPELINE = "model_index.json"


def config_file(folder: Folder) -> Path:
    """Find the `config.json` of a folder that vaezoo or diffusers wrote.

    Raises:
        FileError: If a folder on disk has none. If it is a whole pipeline, the text names the subfolder of the VAE.
        HubError: If a folder on the Hub has none, likewise.
    """
    if path := folder.find(CONFIG):
        return path
    if folder.find(PIPELINE):
        hint = f"; its VAE is {folder.name.below('vae').text}" if folder.find(f"vae/{CONFIG}") else ""
        raise folder.error(f"a whole pipeline ({PIPELINE}) and not a VAE{hint}")
    return folder.read(CONFIG)


def weights_file(folder: Folder, variant: str | None) -> Path:
    """Find the weights in a folder that diffusers wrote.

    Args:
        folder: The folder.
        variant: Which weights, such as "fp16"; `None` means the plain ones, or fp16 if there are no others.

    Raises:
        FileError: If a folder on disk has no such weights, or not in a single safetensors file.
        HubError: If a folder on the Hub has none, likewise.
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
