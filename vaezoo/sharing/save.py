"""Saving a model as a folder that `create("local-dir:…")` reads."""

import os
from pathlib import Path
from typing import Any

from vaezoo.adapters.diffusers_export import diffusers_config, replace_export, write_export
from vaezoo.errors import FileError, VaezooError
from vaezoo.io.files import make_folder, sha256_of, write_text
from vaezoo.io.folder_lock import write_lock
from vaezoo.io.temporary import folder_beside, sweep
from vaezoo.nn.unwrap import unwrapped
from vaezoo.nn.vae import VAE
from vaezoo.sharing.card import card_text
from vaezoo.weights.config_json import CARD, CONFIG, WEIGHTS, config_text
from vaezoo.weights.snapshot import pending_name
from vaezoo.weights.write_checkpoint import check_savable, export_checkpoint

SUBFOLDER = "vae"  # where pipelines of diffusers have their VAE


def save(
    vae: VAE,
    folder: str | Path,
    *,
    license: str | None = None,
    with_diffusers: bool = False,
    training: str | None = None,
) -> Path:
    """Save a model as a folder with `config.json`, `model.safetensors` and a model card, `README.md`.

    At any moment, also after a crash, the folder loads as the old model or the new one, and `vae/` as one of them or,
    for a moment, not at all. All files are written under temporary names first. The new weights are put beside the old
    ones, under a name with their SHA-256; then `config.json` is replaced, which has that SHA-256, and then the weights
    are renamed to `model.safetensors`. What an interrupted save left behind is removed by the next one.

    Args:
        vae: The model, saved in its own dtype.
        folder: Folder to save to, created if it does not exist; `~` is the home folder. Files of these names are
            replaced, others are kept.
        license: License id of the Hub for the card, such as "mit"; `None` leaves it open.
        with_diffusers: Whether to also write `vae/`, which `from_pretrained(folder, subfolder="vae")` of a diffusers
            class loads. Otherwise an existing `vae/` is not updated and may become stale.
        training: Markdown about the training for the card; `None` leaves that section out.

    Returns:
        The folder.

    Raises:
        CheckpointError: If the weights contain NaN or infinity or are on the meta device, or no diffusers class can
            express the network; then nothing is written.
        InputError: If `with_diffusers` is set and the latent statistics are unknown, or `vaezoo.optimize` has cast the
            weights to another dtype.
        FileError: If the folder cannot be written.

    Examples:
        >>> import vaezoo
        >>> vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)
        >>> folder = vaezoo.save(vae, "my_vae", license="mit")
        >>> sorted(path.name for path in folder.iterdir())
        ['README.md', 'config.json', 'model.safetensors']
        >>> vaezoo.create("local-dir:my_vae", pretrained=True).spec == vae.spec
        True
    """
    vae = unwrapped(vae)
    check_savable(vae)
    diffusers = diffusers_config(vae) if with_diffusers else None
    card = card_text(vae, license, diffusers=diffusers, training=training)
    return write_folder(vae, os.path.expanduser(folder), card, diffusers)


def write_folder(
    vae: VAE,
    folder: str | Path,
    card: str,
    diffusers: dict[str, Any] | None = None,
    training_step: int | None = None,
) -> Path:
    """Write the files of `save`.

    Args:
        vae: The model, which `check_savable` accepted.
        folder: Folder to write to.
        card: Text of the model card.
        diffusers: Config for diffusers; `None` leaves out `vae/`.
        training_step: Step of the training run that the weights are from, for `config.json`.
    """
    folder = make_folder(folder)
    try:
        with folder_beside(folder) as new:
            if diffusers:
                (new / SUBFOLDER).mkdir()
                exported, _ = write_export(vae, new / SUBFOLDER, diffusers)
            export_checkpoint(vae, new / WEIGHTS)
            sha256 = sha256_of(new / WEIGHTS)
            write_text(new / CARD, card)
            write_text(new / CONFIG, config_text(vae.spec, vae.latent_stats, sha256, training_step))
            if diffusers:
                make_folder(folder / SUBFOLDER)
            with write_lock(folder):
                _replace_model(new, folder, sha256)
                if diffusers:
                    replace_export(new / SUBFOLDER, folder / SUBFOLDER, exported)
                os.replace(new / CARD, folder / CARD)
                _remove_leftovers(folder)
    except VaezooError:
        raise
    except OSError as error:
        raise FileError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return folder


def _replace_model(new: Path, folder: Path, sha256: str) -> None:
    """Replace config and weights so that `config.json` always names weights that are in the folder."""
    pending = folder / pending_name(sha256)
    os.replace(new / WEIGHTS, pending)
    try:
        os.replace(new / CONFIG, folder / CONFIG)
    except OSError:  # the old config stays, and with it the old model
        pending.unlink(missing_ok=True)
        raise
    os.replace(pending, folder / WEIGHTS)


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed saves left behind; the caller holds the lock of the folder, and `config.json` is new."""
    for pending in folder.glob(pending_name("*")):
        pending.unlink(missing_ok=True)
    sweep(folder)
