"""Finding config and weights in a folder that diffusers wrote."""

from pathlib import Path

from vaezoo.weights.config_json import CONFIG
from vaezoo.weights.folders import Folder
from vaezoo.weights.shards import read_index

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


def weights_in(folder: Folder, variant: str | None) -> list[Path]:
    """Find the weights in a folder that diffusers wrote: one file, or an index and the files that it lists.

    Args:
        folder: The folder.
        variant: Which weights, such as "fp16"; `None` means the plain ones, or fp16 if there are no others.

    Raises:
        CheckpointError: If the index is damaged.
        FileError: If a folder on disk has no such weights as safetensors.
        HubError: If a folder on the Hub has none, likewise.
    """
    plain, index = _names(variant)
    for file, its_index in [(plain, index)] if variant else [(plain, index), _names("fp16")]:
        if path := folder.find(file):
            return [path]
        if path := folder.find(its_index):
            return [path, *(folder.read(shard) for shard in dict.fromkeys(read_index(path).values()))]
    return [folder.read(plain)]


def _names(variant: str | None) -> tuple[str, str]:
    """The names of the one file, and of the index of several."""
    infix = f".{variant}" if variant else ""
    return f"{STEM}{infix}.safetensors", f"{STEM}.safetensors.index{infix}.json"
