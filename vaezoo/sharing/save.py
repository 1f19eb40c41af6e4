"""Saving a model as a folder that `create("local-dir:…")` reads."""

import os
import tempfile
from pathlib import Path
from typing import Any

from vaezoo.errors import CheckpointError, FileError, VaezooError
from vaezoo.io.files import make_folder, sha256_of, write_text
from vaezoo.nn.vae import VAE
from vaezoo.sharing.card import card_text
from vaezoo.sharing.diffusers_folder import SUBFOLDER, diffusers_config, write_export
from vaezoo.weights.config_json import CARD, CONFIG, WEIGHTS, config_text
from vaezoo.weights.load import check_weights_there
from vaezoo.weights.write_checkpoint import export_checkpoint


def save(
    vae: VAE,
    folder: str | Path,
    *,
    license: str | None = None,
    with_diffusers: bool = False,
    training: str | None = None,
) -> Path:
    """Save a model as a folder with `config.json`, `model.safetensors` and a model card, `README.md`.

    All files are written under temporary names before the first replaces an old one. `config.json`, which has the
    SHA-256 of the weights, is replaced last, so that a folder whose saving was interrupted, or into which two processes
    saved at once, is refused instead of loaded with other weights.

    Args:
        vae: The model, saved in its own dtype.
        folder: Folder to save to, created if it does not exist. Files of these names are replaced, others are kept.
        license: License id of the Hub for the card, such as "mit"; `None` leaves it open.
        with_diffusers: Whether to also write `vae/`, which `from_pretrained(folder, subfolder="vae")` of a diffusers
            class loads. Otherwise an existing `vae/` is not updated and may become stale.
        training: Markdown about the training for the card; `None` leaves that section out.

    Returns:
        The folder.

    Raises:
        CheckpointError: If the weights contain NaN or infinity or are on the meta device, or no diffusers class can
            express the network; then nothing is written.
        InputError: If `with_diffusers` is set and the latent statistics are unknown.
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
    check_savable(vae)
    diffusers = diffusers_config(vae) if with_diffusers else None
    return write_folder(vae, folder, card_text(vae, license, diffusers=diffusers, training=training), diffusers)


def write_folder(vae: VAE, folder: str | Path, card: str, diffusers: dict[str, Any] | None = None) -> Path:
    """Write the files of `save`.

    Args:
        vae: The model, which `check_savable` accepted.
        folder: Folder to write to.
        card: Text of the model card.
        diffusers: Config for diffusers; `None` leaves out `vae/`.
    """
    folder = make_folder(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as temporary:
            new, names = Path(temporary), [WEIGHTS, CARD, CONFIG]
            if diffusers:
                names = [*write_export(vae, new, diffusers), *names]
            export_checkpoint(vae, new / WEIGHTS)
            write_text(new / CARD, card)
            write_text(new / CONFIG, config_text(vae.spec, vae.latent_stats, sha256_of(new / WEIGHTS)))
            if diffusers:
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
