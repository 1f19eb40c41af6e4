"""A model as the two files of a folder from which `from_pretrained` of a class of diffusers loads it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaezoo.adapters.pipeline_config import known_stats
from vaezoo.errors import FileError, InputError
from vaezoo.formats.diffusers.classes import config_from_spec
from vaezoo.io.files import make_folder, write_text
from vaezoo.io.temporary import folder_beside
from vaezoo.nn.vae import VAE
from vaezoo.weights.config_json import CONFIG
from vaezoo.weights.load import tensor_names_of
from vaezoo.weights.write_checkpoint import check_savable, export_checkpoint


def diffusers_config(vae: VAE) -> dict[str, Any]:
    """The `config.json` with which diffusers builds the same network; `_class_name` names its class.

    Raises:
        CheckpointError: If no diffusers class can express the network or its latent statistics.
        InputError: If the latent statistics are unknown.
    """
    config = config_from_spec(vae.spec, known_stats(vae))
    tensor_names_of(vae, "diffusers")
    return config


def write_export(vae: VAE, folder: Path, config: Mapping[str, Any], variant: str | None = None) -> tuple[str, str]:
    """Write weights and config for diffusers to an existing folder; returns the names of both files.

    Args:
        vae: The model.
        folder: Folder to write to.
        config: Content of `config.json`, from `diffusers_config`.
        variant: What diffusers puts into the name of the weights, such as "fp16"; `None` leaves it out.
    """
    weights = ".".join(filter(None, ("diffusion_pytorch_model", variant, "safetensors")))
    export_checkpoint(vae, folder / weights, layout="diffusers")
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
    return weights, CONFIG


def replace_export(new: Path, folder: Path, weights: str) -> None:
    """Move the files of `write_export` to an existing folder, in which one may be already.

    At any moment, also after a crash, the folder has the files of the old or of the new export, or no `config.json`, so
    that nothing loads the weights of one with the config of the other.

    Args:
        new: Folder that `write_export` wrote to.
        folder: Folder to move them to.
        weights: Name of the weights file.
    """
    old = folder / CONFIG
    if old.exists() and old.read_bytes() != (new / CONFIG).read_bytes():
        old.unlink()
    os.replace(new / weights, folder / weights)
    os.replace(new / CONFIG, old)


def save_export(vae: VAE, folder: str | os.PathLike[str], changes: Mapping[str, Any], variant: str | None) -> None:
    """Check a model, then write it for diffusers to a folder, which is created if it does not exist.

    Args:
        vae: The model.
        folder: Folder to write to; files of the same names are replaced, as by `replace_export`.
        changes: Entries of `config.json` that differ from those of the model.
        variant: As for `write_export`.

    Raises:
        CheckpointError: If no diffusers class can express the network or its latent statistics, or weights are missing
            or not finite; then nothing is written.
        InputError: If the latent statistics are unknown, `variant` cannot be in a file name, or `vaezoo.optimize` has
            cast the weights to another dtype.
        FileError: If the folder cannot be written.
    """
    check_savable(vae)
    config = {**diffusers_config(vae), **changes}
    if variant and os.path.basename(variant) != variant:
        raise InputError(f"variant {variant!r} is part of a file name and cannot name a folder; write 'fp16'")
    folder = make_folder(Path(folder))
    with folder_beside(folder) as new:
        weights, _ = write_export(vae, new, config, variant)
        try:
            replace_export(new, folder, weights)
        except OSError as error:
            raise FileError(f"{folder}: cannot be written ({error.strerror or error})") from error
