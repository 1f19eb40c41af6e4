"""Saving a model as a folder that `create("local-dir:…")` reads."""

import os
import tempfile
from pathlib import Path
from typing import Any

from vaezoo.errors import CheckpointError, FileError, VaezooError
from vaezoo.io.files import make_folder, sha256_of, write_text
from vaezoo.nn.vae import VAE
from vaezoo.sharing.card import card_text
from vaezoo.sharing.diffusers_export import SUBFOLDER, diffusers_config, write_export
from vaezoo.weights.config_json import CARD, CONFIG, WEIGHTS, config_text
from vaezoo.weights.export import export_checkpoint
from vaezoo.weights.load import check_weights_there


def save(
    vae: VAE,
    folder: str | Path,
    *,
    license: str | None = None,
    with_diffusers: bool = False,
    training: str | None = None,
) -> Path:
    """Write `config.json`, `model.safetensors` and a `README.md` card; returns the folder.

    All files are written before the first takes its place, `config.json`, which holds the hash of the weights, last: a
    folder that was interrupted, or saved to by two at once, does not load as something else.

    Args:
        vae: The model, saved in its own dtype.
        folder: Made if need be; files of these three names are replaced, others are left alone.
        license: License id of the Hub for the card.
        with_diffusers: Also write `vae/`, which `from_pretrained(folder, subfolder="vae")` of a class of diffusers
            loads. One that was there is replaced; without this it is left alone, and grows old.
        training: Markdown for the card: how it was trained.

    Raises:
        CheckpointError: If the weights hold NaN or infinity, or are on the meta device, or no class of diffusers can
            express the network; nothing is written then.
        InputError: If latent statistics are not known and diffusers needs them.
        FileError: If the folder cannot be written.
    """
    check_savable(vae)
    foreign = diffusers_config(vae) if with_diffusers else None
    return write_folder(vae, folder, card_text(vae, license, foreign=foreign, training=training), foreign)


def write_folder(vae: VAE, folder: str | Path, card: str, foreign: dict[str, Any] | None = None) -> Path:
    """`save` with a card and, for `vae/`, a config of diffusers at hand, and a model that was checked."""
    folder = make_folder(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as temporary:
            new, names = Path(temporary), [WEIGHTS, CARD, CONFIG]
            if foreign:
                names = [*write_export(vae, new, foreign), *names]
            export_checkpoint(vae, new / WEIGHTS)
            write_text(new / CARD, card)
            write_text(new / CONFIG, config_text(vae.spec, vae.latent_stats, sha256_of(new / WEIGHTS)))
            if foreign:
                make_folder(folder / SUBFOLDER)
            for name in names:
                os.replace(new / name, folder / name)
    except VaezooError:
        raise
    except OSError as error:
        raise FileError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return folder


def check_savable(vae: VAE) -> None:
    """Raise `CheckpointError` if weights are missing or not finite."""
    check_weights_there(vae)
    tensors = vae.state_dict()
    bad = [key for key, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise CheckpointError(f"NaN or infinite weights in {', '.join(bad[:5])}{more}: not saved")
