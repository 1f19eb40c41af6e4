"""Export for diffusers in the subfolder `vae/`, where its pipelines have their VAE."""

import json
from pathlib import Path
from typing import Any

from vaezoo.adapters.as_diffusers import known_stats
from vaezoo.formats.diffusers.classes import config_from_spec
from vaezoo.io.files import write_text
from vaezoo.nn.vae import VAE
from vaezoo.weights.load import tensor_names_of
from vaezoo.weights.write_checkpoint import export_checkpoint

SUBFOLDER = "vae"
FILES = (f"{SUBFOLDER}/diffusion_pytorch_model.safetensors", f"{SUBFOLDER}/config.json")


def diffusers_config(vae: VAE) -> dict[str, Any]:
    """The `config.json` with which diffusers builds the same network; `_class_name` names its class.

    Raises:
        CheckpointError: If no diffusers class can express the network or its latent statistics.
        InputError: If the latent statistics are unknown.
    """
    config = config_from_spec(vae.spec, known_stats(vae))
    tensor_names_of(vae, "diffusers")
    return config


def write_export(vae: VAE, folder: Path, config: dict[str, Any]) -> tuple[str, ...]:
    """Write weights and config for diffusers; returns their paths relative to `folder`."""
    (folder / SUBFOLDER).mkdir()
    weights, text = FILES
    export_checkpoint(vae, folder / weights, layout="diffusers")
    write_text(folder / text, json.dumps(config, indent=2) + "\n")
    return FILES
