"""A folder that `vaezoo encode` wrote, opened for reading: what dataset.json says, and the shards that belong to it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vaezoo.errors import CheckpointError, FileError
from vaezoo.io.files import opened, read_json, sha256_of
from vaezoo.latents.channel_sums import ChannelSums
from vaezoo.latents.shard_files import (
    DATASET,
    PLAN,
    PLANNED_PHOTOS,
    REMEDY,
    ManifestLine,
    ShardHeader,
    check_version,
    manifest_path,
    read_header,
    read_manifest,
    shards_in,
)
from vaezoo.nn.vae import VAE
from vaezoo.specs.stats import LatentStats
from vaezoo.zoo.create import create


@dataclass(frozen=True)
class LatentFolder:
    """A folder of latents.

    Args:
        path: The folder.
        about: What dataset.json says, or plan.json if the folder is read in part.
        headers: The header of each shard that is read, by its name.
        stats: Statistics of all raw latents; `None` if a channel is constant.
    """

    path: Path
    about: Mapping[str, Any]
    headers: Mapping[str, ShardHeader]
    stats: LatentStats | None

    @property
    def count(self) -> int:
        """Number of samples."""
        return sum(header.count for header in self.headers.values())

    def create_vae(self, device: torch.device | str | None = None, dtype: torch.dtype = torch.float32) -> VAE:
        """Create the VAE that encoded the folder.

        Args:
            device: Device of the weights; `None` means PyTorch's default device.
            dtype: Floating-point type of the weights.

        Raises:
            UnknownNameError: If there is no model of that name on this machine.
            CheckpointError: If it has other weights than those that encoded the folder.
        """
        model = self.about["model"]
        vae = create(model["name"], pretrained=True, device=device, dtype=dtype)
        found = vae.source and vae.source.sha256
        if (vae.spec.hash, found) != (model["spec_hash"], model["sha256"]):
            raise CheckpointError(
                f"{self.path}: encoded with weights {model['sha256'][:12]}, but those of {model['name']} are now "
                f"{(found or 'none')[:12]}; decode with the weights that encoded it"
            )
        return vae

    def rows(self, name: str) -> Iterator[ManifestLine]:
        """Iterate over the photos of a shard that have a row, in order of their rows.

        Raises:
            FileError: If the manifest is damaged or has changed since the folder was opened.
        """
        lines, digest = read_manifest(self.path, name)
        self.check_unchanged(name, digest)
        yield from sorted((line for line in lines if line.row is not None), key=lambda line: line.row or 0)

    def check_unchanged(self, name: str, manifest_sha256: str) -> None:
        """Raise `FileError` if the manifest of a shard is not the one that it had when the folder was opened."""
        if manifest_sha256 != self.headers[name].manifest_sha256:
            raise FileError(changed(self.path, name))


def open_folder(path: str | Path, partial: bool = False) -> LatentFolder:
    """Open a folder of latents.

    Args:
        path: The folder.
        partial: Whether to read the finished shards of a folder that `vaezoo encode` has not finished; statistics are
            those of these shards.

    Raises:
        FileError: If this is no folder of latents, it is not finished, or shards have changed since dataset.json was
            written.
    """
    path = Path(path)
    check_has_plan(path)
    if partial:
        return _finished_part(path)
    if not (path / DATASET).is_file():
        raise FileError(f"{path}: not finished, it has no {DATASET}; {REMEDY}, or read what is there (partial=True)")
    about = read_about(path / DATASET)
    headers = {listed["name"]: _checked_header(path, listed) for listed in about["shards"]}
    _check_complete(path, about)
    stats = about["latent_stats"]
    return LatentFolder(path, about, headers, _statistics(stats) if stats else None)


def check_has_plan(folder: Path) -> None:
    """Raise `FileError` if this is no folder of latents."""
    if not (folder / PLAN).is_file():
        raise FileError(f"{folder}: not a folder of latents, it has no {PLAN}; vaezoo encode writes one")


def changed(folder: Path, shard: str) -> str:
    """The message for a shard that has changed since the folder was finished or opened."""
    return f"{folder}: shard {shard} has changed since {DATASET} was written; {REMEDY} and writes {DATASET} again"


def _finished_part(path: Path) -> LatentFolder:
    """Open the shards whose manifests fit; those that are not finished are passed over."""
    headers = {name: read_header(path, name) for name in shards_in(path)}
    done = {name: header for name, header in headers.items() if _fits(path, name, header)}
    if not any(header.count for header in done.values()):
        raise FileError(f"{path}: no finished shard in it yet; {REMEDY}")
    stats = ChannelSums.merged(header.sums for header in done.values() if header.count).latent_stats
    return LatentFolder(path, read_about(path / PLAN), done, stats)


def _checked_header(path: Path, listed: Mapping[str, Any]) -> ShardHeader:
    header = read_header(path, listed["name"])
    same = (header.manifest_sha256, header.count) == (listed["manifest_sha256"], listed["count"])
    if not same or not _fits(path, listed["name"], header):
        raise FileError(changed(path, listed["name"]))
    return header


def _fits(path: Path, name: str, header: ShardHeader) -> bool:
    manifest = manifest_path(path, name)
    return manifest.is_file() and sha256_of(manifest) == header.manifest_sha256


def _check_complete(path: Path, about: Mapping[str, Any]) -> None:
    """Raise `FileError` if photos were planned after dataset.json was written."""
    with opened(path / PLANNED_PHOTOS) as file:
        planned = sum(1 for _ in file)
    listed = about["count"] + len(about["bad"])
    if planned != listed:
        raise FileError(
            f"{path}: not finished, {listed:,} of {planned:,} photos are in {DATASET}; {REMEDY}, or read what is there "
            "(partial=True)"
        )


def read_about(path: Path) -> dict[str, Any]:
    """Read `dataset.json`, or `plan.json`, which has less.

    Raises:
        FileError: If it cannot be read, is of another version, or lacks what it should have.
    """
    about = read_json(path, REMEDY)
    if not isinstance(about, dict):
        raise FileError(f"{path}: damaged (not a mapping); {REMEDY}")
    check_version(about, path)
    lists, stats = (("shards", "bad") if path.name == DATASET else ()), about.get("latent_stats")
    whole = all(isinstance(about.get(key), list) for key in lists) and isinstance(stats, dict | None)
    try:
        model = about["model"]["name"], about["model"]["spec_hash"], about["model"]["sha256"]
        listed = [(each["name"], each["count"], each["manifest_sha256"]) for each in about.get("shards", ())]
        if not whole or not all(isinstance(text, str) for text in (*model, *(name for name, _, _ in listed))):
            raise TypeError("a value of another type")
        if stats:
            _statistics(stats)
    except (KeyError, TypeError) as error:
        raise FileError(f"{path}: damaged ({error!r}); {REMEDY}") from error
    return about


def _statistics(stats: Mapping[str, Any]) -> LatentStats:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stats.items()}
    return LatentStats(**values)
