"""What a folder of latents is encoded with: its settings and its model, which `plan.json` has."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaezoo.data.photo_source import INDEXED
from vaezoo.errors import FileError, InputError
from vaezoo.io.files import read_json, write_json
from vaezoo.io.temporary import is_temporary_name
from vaezoo.io.tensor_file import sha256_of_tensors
from vaezoo.latents.buckets import RESIZES, SDXL_SIZE, Framing, Resize, kohya_step
from vaezoo.latents.shard_files import FORMAT, PLAN, SHARDS, VERSION, check_version
from vaezoo.nn.dtypes import DTYPES
from vaezoo.nn.vae import VAE
from vaezoo.specs.faults import unknown

SIZES = {"center": 256, "multiple": None, "buckets": SDXL_SIZE, "kohya": SDXL_SIZE}  # defaults of `size`
LOCKS = "locks"
REMEDY = "give another folder, or the settings of this one"
COMPUTE = ("auto", *DTYPES)
LARGEST_SIZE = 16_384


@dataclass(frozen=True, kw_only=True)
class EncodeSettings:
    """What decides which values a folder of latents holds, beside the photos and the model.

    Args:
        data: Source of the photos, as `vaezoo.data.photos.photos` takes it.
        split: Split of the source, or `None`.
        root: Folder of a dataset, or `None`.
        resize: How photos are brought to size, as `Framing` has it.
        size: Pixels; `None` is the default of `resize`: 256, the photo's own size, or 1024.
        flip: Whether to encode the mirrored photos, too.
        captions: Whether to store the caption of each photo.
        labels: Whether to store the label of each photo.
        dtype: Dtype in which latents are stored: "bf16", "fp16" or "fp32".
        compute: Dtype in which the model runs, as `vaezoo.optimize` takes it.
        shard_size: Most photos of a shard.
    """

    data: str | None
    split: str | None = None
    root: str | None = None
    resize: Resize = "center"
    size: int | None = None
    flip: bool = False
    captions: bool = False
    labels: bool = False
    dtype: str = "bf16"
    compute: str = "auto"
    shard_size: int = 512

    def framing(self, multiple: int) -> Framing:
        """Return how photos are brought to size for a model whose sizes are multiples of `multiple`."""
        return Framing(self.resize, self.size, multiple)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as `plan.json` has them."""
        return {
            "preprocessing": {"resize": self.resize, "size": self.size, "flip": self.flip},
            "captions": self.captions,
            "labels": self.labels,
            "dtype": self.dtype,
            "compute": self.compute,
            "samples_per_shard": self.shard_size,
            "source": {"data": self.data, "split": self.split, "root": self.root},
        }

    @classmethod
    def from_dict(cls, plan: dict[str, Any]) -> "EncodeSettings":
        """Restore the settings from the content of `plan.json`."""
        plain = {name: plan[name] for name in ("captions", "labels", "dtype", "compute")}
        return cls(**plan["preprocessing"], **plan["source"], **plain, shard_size=plan["samples_per_shard"])


def checked_settings(multiple: int, **given: Any) -> EncodeSettings:
    """Check settings, fill in the default size, and make the paths of the source absolute.

    Args:
        multiple: `VAE.size_multiple` of the model.
        given: Arguments of `EncodeSettings`.

    Raises:
        InputError: If a setting is not one of its choices, or the size does not fit the model.
    """
    for name, choices in (("resize", RESIZES), ("dtype", tuple(DTYPES)), ("compute", COMPUTE)):
        if name in given and given[name] not in choices:
            raise InputError(unknown(given[name], list(choices), name))
    resize, size = given.get("resize", "center"), given.get("size")
    size = SIZES[resize] if size is None else size
    if size is not None and not multiple <= size <= LARGEST_SIZE:
        raise InputError(f"size {size}: expected {multiple} to {LARGEST_SIZE} pixels for this model")
    step = {"center": multiple, "kohya": kohya_step(multiple)}.get(resize, 1)
    if size is not None and size % step:
        why = "this model needs" if resize == "center" else "sides of kohya's buckets are"
        near = max(size // step, 1) * step
        raise InputError(f"size {size} is not a multiple of {step}, which {why}; take {near}")
    if given.get("shard_size", 1) < 1:
        raise InputError(f"shard_size {given['shard_size']}: expected 1 or more photos")
    given["data"] = absolute_source(given["data"])
    for name in {"data", "root"} & given.keys():
        given[name] = None if given[name] is None else str(given[name])
    return EncodeSettings(**{**given, "size": size})


def absolute_source(data: str | Path | None) -> str | None:
    """Return a source of photos with its path made absolute; the names of data sets stay."""
    if data is None or str(data).startswith(INDEXED):
        return None if data is None else str(data)
    return os.path.abspath(os.path.expanduser(data))


def model_identity(vae: VAE) -> dict[str, Any]:
    """Return what `plan.json` says about a model: names, hashes and shape of the latents."""
    source = vae.source.to_dict() if vae.source else {}
    stats = vae.latent_stats
    return {
        "name": vae.source.exact_name if vae.source else vae.spec.label,
        "spec_hash": vae.spec.hash,
        "repo": source.get("repo"),
        "commit": source.get("commit"),
        "sha256": source.get("sha256") or sha256_of_tensors(vae.state_dict()),
        "latent": {"kind": vae.spec.latent.kind, "channels": vae.latent_channels},
        "downscale": vae.downscale,
        "size_multiple": vae.size_multiple,
        "pack": (stats and stats.pack) or 1,
    }


def read_plan(folder: Path) -> dict[str, Any] | None:
    """Read `plan.json` of a folder; `None` if the folder has none.

    Raises:
        FileError: If it is damaged, of another version, or the folder holds something else.
    """
    path = folder / PLAN
    if path.exists():
        plan = read_json(path, "restore it, or encode into another folder")
        if not isinstance(plan, dict):
            raise FileError(f"{path}: not written by vaezoo encode; name a folder of latents")
        check_version(plan, path)
        return plan
    others = [path.name for path in folder.iterdir() if not _of_a_killed_start(path.name)] if folder.is_dir() else []
    if others:
        raise FileError(f"{folder}: has {min(others)} and no latents; name a new or empty folder for them")
    return None


def agree(folder: Path, settings: EncodeSettings, model: dict[str, Any]) -> dict[str, Any]:
    """Write `plan.json`, or check that the one of the folder has the same settings and model; returns its content.

    Raises:
        InputError: If they differ; the text has the first difference, what the folder has and what was given.
        FileError: If the folder holds something else, or cannot be written.
    """
    plan, ours = read_plan(folder), {"format": FORMAT, "version": VERSION, "model": model, **settings.to_dict()}
    if plan is None:
        write_json(folder / PLAN, ours)
        return ours
    _check_same_model(folder, plan["model"], model)
    given = _flat(ours)
    for name, value in _flat(plan).items():
        if given.get(name) != value:
            raise InputError(
                f"{folder}: was encoded with {name} {_text(value)}, not {_text(given.get(name))}; {REMEDY}"
            )
    return plan


def check_model(folder: Path, planned: dict[str, Any], vae: VAE) -> None:
    """Check that a model has the network and the weights that `plan.json` has.

    Raises:
        InputError: If it has others.
    """
    _check_same_model(folder, planned, model_identity(vae))


def _check_same_model(folder: Path, planned: dict[str, Any], given: dict[str, Any]) -> None:
    if any(planned[key] != given[key] for key in ("spec_hash", "sha256")):
        texts = _model_text(planned), _model_text(given)
        raise InputError(f"{folder}: was encoded with the model {texts[0]}, not {texts[1]}; {REMEDY}")


def _of_a_killed_start(name: str) -> bool:
    return name in (SHARDS, LOCKS) or is_temporary_name(name)


def _model_text(model: dict[str, Any]) -> str:
    return f"{model['name']} (network {model['spec_hash'][:12]}, weights {model['sha256'][:12]})"


def _flat(plan: dict[str, Any]) -> dict[str, Any]:
    """The settings of a plan by name, without the model."""
    found: dict[str, Any] = {}
    for name, value in plan.items():
        if isinstance(value, dict):
            found |= value if name != "model" else {}
        else:
            found[name] = value
    return found


def _text(value: object) -> str:
    if value is None:
        return "none"
    return ("off", "on")[value] if isinstance(value, bool) else str(value)
