"""`LatentDataset`: the samples of a folder of latents, for training a diffusion model."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vaezoo.data.seeds import generator, numbers
from vaezoo.errors import FileError, InputError
from vaezoo.io.files import opened
from vaezoo.latents.latent_folder import LatentFolder, changed, open_folder
from vaezoo.latents.sample_index import index_samples
from vaezoo.latents.shard_files import POSTERIORS, ShardHeader, manifest_path, open_shard, read_header, stored_name
from vaezoo.nn.distributions import Posterior
from vaezoo.nn.dtypes import dtype_of
from vaezoo.nn.normalization import normalize_latents
from vaezoo.nn.vae import VAE
from vaezoo.specs.stats import LatentStats

MOST_OPEN = 8192  # shards of a process, with a few memory maps each, of which Linux allows 65,530


class LatentDataset(Dataset[dict[str, Any]]):
    """A map-style data set of the latents in a folder that `vaezoo encode` wrote.

    A sample is a dictionary with `latents` (C, h, w), `key` (the name of the photo), `flipped` (whether the latents are
    those of the mirrored photo) and, if photos of the folder have them, `label` (int, see `classes`) and `caption`. The
    draws of a sample depend on `seed`, the epoch and its index only, so that neither the number of workers nor that of
    processes changes them. Call `set_epoch` before each epoch, otherwise all epochs have the same draws.

    Shards are read through memory maps, which each worker process opens when it first needs them.

    Args:
        folder: Folder of latents.
        sample: Whether to draw from the posterior; otherwise its mode, the most likely latents. Deterministic latents
            are the same in both cases.
        flip: Whether to take the latents of the mirrored photo half of the time; `vaezoo encode --flip` stores them.
        normalize: Whether to normalize by the statistics of the folder; `False` leaves raw units. Or the statistics to
            normalize by, such as `vae.latent_stats`.
        seed: Seed of the draws.
        dtype: Floating-point type of the latents, or its name, such as "bf16"; draws are made in float32.
        partial: Whether to read the finished shards of a folder that `vaezoo encode` has not finished.

    Attributes:
        folder: The folder.
        latent_stats: The statistics that normalize; `None` if latents are raw.

    Raises:
        FileError: If this is no folder of latents, it is not finished, or its files do not belong together.
        InputError: If `flip` is wanted and the folder has no mirrored latents, or a channel is constant, which cannot
            be normalized.

    Examples:
        >>> import vaezoo
        >>> written = vaezoo.encode_dataset("vae_f8_z4_micro", data=".", out="latents", size=64, flip=True)
        >>> dataset = vaezoo.LatentDataset("latents", flip=True)
        >>> tuple(dataset[0]["latents"].shape)
        (4, 8, 8)
        >>> vae = dataset.create_vae()
        >>> tuple(vae.decode(vae.denormalize(dataset[0]["latents"][None])).shape)
        (1, 3, 64, 64)
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        sample: bool = True,
        flip: bool = False,
        normalize: bool | LatentStats = True,
        seed: int = 0,
        dtype: torch.dtype | str = torch.float32,
        partial: bool = False,
    ) -> None:
        self._found = found = open_folder(folder, partial)
        self.folder = found.path
        self.sample, self.flip, self.seed, self.dtype = sample, flip, seed, dtype_of(dtype)
        if not isinstance(self.dtype, torch.dtype) or not self.dtype.is_floating_point:
            raise InputError(f"dtype {dtype}: expected a floating-point type, such as torch.float32")
        self.latent_stats = _statistics(found, normalize)
        self._index = index_samples(found)
        self._shards = [(name, header) for name, header in found.headers.items() if header.count]
        self._ends = np.cumsum([header.count for _, header in self._shards])
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers that are kept see it change
        self._open: dict[int, _OpenShard] = {}
        if flip and self._shards and not self._open_shard(0).mirrored:
            raise InputError(
                f"{self.folder}: has no mirrored latents; encode with --flip into another folder, or flip=False"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, of which `label` is the index; empty if there are no labels, or they are numbers."""
        return self._index.classes

    @property
    def buckets(self) -> dict[str, Tensor]:
        """Indices of the samples of each size of photos, by its name, such as "1216x832" (width x height in pixels)."""
        indices: dict[str, list[Tensor]] = {}
        for end, (_, header) in zip(self._ends.tolist(), self._shards, strict=True):
            indices.setdefault(header.bucket, []).append(torch.arange(end - header.count, end))
        return {bucket: torch.cat(parts) for bucket, parts in indices.items()}

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of an epoch, counted from 0; worker processes that are kept between epochs follow."""
        self._epoch.fill_(epoch)

    def create_vae(self, device: torch.device | str | None = None, dtype: torch.dtype = torch.float32) -> VAE:
        """Create the VAE that encoded the folder; `vae.decode(vae.denormalize(latents))` turns samples into images.

        Args:
            device: Device of the weights; `None` means PyTorch's default device.
            dtype: Floating-point type of the weights.

        Returns:
            The VAE. Its `latent_stats` are those that normalize the samples, if they are normalized.

        Raises:
            UnknownNameError: If there is no model of that name here.
            CheckpointError: If its weights are not those that encoded the folder.
        """
        vae = self._found.create_vae(device, dtype)
        if self.latent_stats is not None:
            vae.latent_stats = self.latent_stats
        return vae

    def __len__(self) -> int:
        return len(self._index.lines)

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = range(len(self))[index]  # counts negative ones from the end, and raises IndexError
        number = int(np.searchsorted(self._ends, index, side="right"))
        shard, epoch = self._open_shard(number), int(self._epoch)
        row = index - int(self._ends[number]) + self._shards[number][1].count
        flipped = self.flip and numbers(self.seed, "flip", epoch, index).random() < 0.5
        posterior = shard.posterior(row, flipped)
        z = posterior.sample(generator(self.seed, "posterior", epoch, index)) if self.sample else posterior.mode()
        if self.latent_stats is not None:
            z = normalize_latents(z, self.latent_stats)
        line = shard.line(*self._index.lines[index].tolist())
        sample = {"latents": z[0].to(self.dtype), "key": line["key"], "flipped": flipped}
        if self._index.labels is not None:
            sample["label"] = int(self._index.labels[index])
        if self._index.captioned:
            sample["caption"] = line.get("caption", "")
        return sample

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # a process opens the files itself

    def _open_shard(self, number: int) -> "_OpenShard":
        shard = self._open.get(number)
        if shard is None:
            if len(self._open) >= MOST_OPEN:
                self._open.pop(next(iter(self._open)), None)  # another thread may have done it
            shard = self._open[number] = _OpenShard(self.folder, *self._shards[number])
        return shard


class _OpenShard:
    """The files of a shard, mapped into memory."""

    def __init__(self, folder: Path, name: str, header: ShardHeader) -> None:
        self.tensors = open_shard(folder, name)
        path = manifest_path(folder, name)
        with opened(path) as file:
            size = file.seek(0, os.SEEK_END)
        # a map of Python's `mmap` keeps its file open, and processes may often have no more than 1,024 open files
        try:
            self.manifest = torch.from_file(str(path), size=size, dtype=torch.uint8).numpy()
        except RuntimeError as error:  # it has become shorter
            raise FileError(changed(folder, name)) from error
        digest = hashlib.sha256(self.manifest.data).hexdigest()
        if read_header(folder, name) != header or digest != header.manifest_sha256:
            raise FileError(changed(folder, name))
        names = self.tensors.keys()
        self.mirrored = any(key.endswith("_flip") for key in names)
        self.stored = stored_name(names)

    def posterior(self, row: int, flipped: bool) -> Posterior:
        """The posterior of one photo, in float32."""
        return POSTERIORS[self.stored](self.tensors.get_slice(self.stored + "_flip" * flipped)[row : row + 1].float())

    def line(self, start: int, end: int) -> dict[str, Any]:
        """The line of the manifest between two bytes."""
        line: dict[str, Any] = json.loads(self.manifest[start:end].tobytes())
        return line


def _statistics(folder: LatentFolder, normalize: bool | LatentStats) -> LatentStats | None:
    if isinstance(normalize, LatentStats):
        return normalize
    if normalize and folder.stats is None:
        if not folder.count:
            raise InputError(f"{folder.path}: has no latents; vaezoo encode lists photos that it could not encode")
        raise InputError(f"{folder.path}: a channel is constant, so it cannot be normalized; pass normalize=False")
    return folder.stats if normalize else None
