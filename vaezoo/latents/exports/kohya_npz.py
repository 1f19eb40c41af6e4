"""Export as the latent caches of kohya's sd-scripts: one .npz file for each photo, beside the photo.

Source: kohya-ss/sd-scripts@48d368fa `library/strategy_base.py`, `strategy_sd.py`, `strategy_sd3.py` and
`strategy_flux.py` (names, keys, and what is stored); `library/train_util.py`, `BucketManager.get_crop_ltrb` (crop
boxes) and `FineTuningDataset` (metadata); `library/flux_models.py`, `AutoEncoder.encode` (FLUX.1's latents are scaled
before they are cached, those of the others when they are read).
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from vaezoo.errors import InputError
from vaezoo.io.files import make_folder, replacing, write_json
from vaezoo.latents.buckets import Box
from vaezoo.latents.exports.stored_latents import ExportSettings, path_of_key, read_stored
from vaezoo.latents.latent_folder import LatentFolder
from vaezoo.latents.shard_files import ManifestLine, sides_of
from vaezoo.nn.normalization import normalize_latents
from vaezoo.specs.stats import LatentStats

METADATA = "vaezoo_metadata.json"


class Trainer(NamedTuple):
    """A trainer of sd-scripts.

    Args:
        suffix: End of the names of its caches.
        channels: Channels of its latents, which have 8 pixels per position.
        sized: Whether the keys of a cache end with the size of the latents, as in `latents_32x64`.
        stats: How it scales the latents that it caches; `None` stores raw ones.
    """

    suffix: str
    channels: int
    sized: bool
    stats: LatentStats | None = None


TRAINERS = {
    "sd": Trainer("_sd.npz", 4, sized=False),
    "sdxl": Trainer("_sdxl.npz", 4, sized=False),
    "sd3": Trainer("_sd3.npz", 16, sized=True),
    "flux": Trainer("_flux.npz", 16, sized=True, stats=LatentStats(scale=0.3611, shift=0.1159)),
}


def export_kohya(trainer: str, folder: LatentFolder, out: Path, settings: ExportSettings) -> str:
    """Write caches into the folder of the photos, or another one, and a metadata file with sizes and captions.

    Args:
        trainer: Name of the trainer, in `TRAINERS`.
        folder: Folder of latents, encoded with "kohya", or with "center" for a trainer without `enable_bucket`.
        out: Folder of the photos. Files are named after photos, and those of an earlier export are replaced.
        settings: What to store.

    Returns:
        What was written, as a sentence.

    Raises:
        InputError: If the latents are not those of the trainer, two photos would have the same file, or the name of a
            photo leads out of the folder.
        FileError: If a file cannot be read or written.
    """
    kind = TRAINERS[trainer]
    _check_model(trainer, kind, folder)
    names, about = _file_names(kind, folder, out), dict[str, Any]()
    for name, header in folder.headers.items():
        stored = read_stored(folder, name, settings)
        for row, line in enumerate(stored.lines):
            mirrored = None if stored.mirrored is None else stored.mirrored[row]
            arrays = _arrays(kind, stored.latents[row], mirrored, line, sides_of(header.bucket))
            path = names[line.key]
            make_folder(path.parent)
            with replacing(path) as temporary:
                np.savez(temporary, **arrays)
            about[line.key] = _metadata(line)
    write_json(make_folder(out) / METADATA, about)
    scale = "raw, as sd-scripts stores them" if kind.stats is None else "scaled by FLUX.1's scale and shift"
    return f"{folder.count:,} caches *{kind.suffix} and {METADATA}; latents are {settings.text}, {scale}"


EXPORTS = {f"kohya-{trainer}": partial(export_kohya, trainer) for trainer in TRAINERS}


def crop_box(bucket: tuple[int, int], original: tuple[int, int]) -> Box:
    """The box left, top, right, bottom that sd-scripts stores as `crop_ltrb`: the whole photo, shrunk into its bucket.

    Args:
        bucket: Width and height of the bucket.
        original: Width and height of the photo.
    """
    ratio = original[0] / original[1]
    if bucket[0] / bucket[1] > ratio:  # copies the side that fills the bucket: a rounded one could give -1 below
        width, height = bucket[1] * ratio, float(bucket[1])
    else:
        width, height = float(bucket[0]), bucket[0] / ratio
    left, top = (bucket[0] - width) // 2, (bucket[1] - height) // 2
    return left, top, left + width, top + height


def original_size(line: ManifestLine) -> tuple[int, int]:
    """Width and height of a photo, of whose middle a part was encoded."""
    assert line.crop is not None  # of a photo that was encoded
    left, top, right, bottom = line.crop
    return round(left + right), round(top + bottom)


def _check_model(trainer: str, kind: Trainer, folder: LatentFolder) -> None:
    model, resize = folder.about["model"], folder.about["preprocessing"]["resize"]
    found = model["latent"]["channels"], model["downscale"]
    if found != (kind.channels, 8):
        expected = f"kohya-{trainer} has latents of {kind.channels} channels and 8 pixels per position"
        raise InputError(f"{folder.path}: {expected}, these have {found[0]} and {found[1]}; encode with its own VAE")
    if resize not in ("kohya", "center"):  # sd-scripts would take caches of other sizes, and fail to batch them
        text = "its photos have other sizes than sd-scripts gives them; encode with --resize kohya (or center)"
        raise InputError(f"{folder.path}: encoded with --resize {resize}: {text}")


def _file_names(kind: Trainer, folder: LatentFolder, out: Path) -> dict[str, Path]:
    names: dict[str, Path] = {}
    keys: dict[Path, str] = {}
    for line in (line for name in folder.headers for line in folder.rows(name)):
        width, height = original_size(line)
        path = path_of_key(out, line.key)
        path = path.with_name(f"{path.stem}_{width:04d}x{height:04d}{kind.suffix}")
        if path in keys:
            raise InputError(f"{line.key} and {keys[path]} would both be {path}; rename one and encode again")
        names[line.key], keys[path] = path, line.key
    return names


def _arrays(
    kind: Trainer, latents: Tensor, mirrored: Tensor | None, line: ManifestLine, bucket: tuple[int, int]
) -> dict[str, Any]:
    end = f"_{latents.shape[1]}x{latents.shape[2]}" if kind.sized else ""
    original = original_size(line)
    arrays = {
        "latents": _scaled(latents, kind).numpy(),
        "original_size": np.array(original),
        "crop_ltrb": np.array(crop_box(bucket, original)),
    }
    if mirrored is not None:
        arrays["latents_flipped"] = _scaled(mirrored, kind).numpy()
    return {f"{key}{end}": array for key, array in arrays.items()}


def _scaled(latents: Tensor, kind: Trainer) -> Tensor:
    return latents if kind.stats is None else normalize_latents(latents, kind.stats)


def _metadata(line: ManifestLine) -> dict[str, Any]:
    return {"caption": line.caption or "", "image_size": list(original_size(line))}
