"""Collects the moments of a shard batch by batch, and writes the shard."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from vaezoo.errors import FileError, InputError
from vaezoo.latents.encode_plan import GONE, PlannedPhoto
from vaezoo.latents.shard_files import ManifestLine, bucket_of, open_shard, read_manifest, sides_of, write_shard


@dataclass(frozen=True)
class StoredForm:
    """How a folder stores latents.

    Args:
        name: "moments", or "mean" for deterministic latents; the mirrored ones are `NAME_flip`.
        dtype: The dtype.
        channels: Channels of a moment or mean.
        downscale: Pixels per position.
        flip: Whether the mirrored ones are stored, too.
        pack: Side of the patches of `LatentStats.pack`, 1 for none.
    """

    name: str
    dtype: torch.dtype
    channels: int
    downscale: int
    flip: bool
    pack: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tensors with one row for each photo, beside `index`."""
        return (self.name, f"{self.name}_flip") if self.flip else (self.name,)

    def empty(self, bucket: str) -> Tensor:
        """Return a tensor of no rows for a bucket such as "1216x832"."""
        width, height = (side // self.downscale for side in sides_of(bucket))
        return torch.zeros(0, self.channels, height, width, dtype=self.dtype)


@dataclass
class ShardBuffer:
    """The rows and lines of a shard that is being encoded.

    Args:
        name: Name of the shard.
        planned: Its photos.
        form: How latents are stored.
        refuse: Whether a latent that cannot be stored is an error instead of a bad photo.
    """

    name: str
    planned: Sequence[PlannedPhoto]
    form: StoredForm
    refuse: bool = False
    rows: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    lines: list[ManifestLine] = field(default_factory=list)

    def add(self, lines: Sequence[ManifestLine], computed: Sequence[Tensor]) -> None:
        """Add a batch.

        Args:
            lines: What the manifest says about its photos; those that were encoded have a row.
            computed: For each name of the form a tensor of shape (B, channels, h, w), in floating point, of those.

        Raises:
            InputError: If a latent is not finite, or beyond the range of the dtype, and `refuse` is set.
        """
        stored = [each.to("cpu", self.form.dtype) for each in computed]
        finite = [each.flatten(1).isfinite().all(dim=1).tolist() for each in stored]
        kept, row = [], 0
        for line in lines:
            if line.row is not None:
                if all(each[row] for each in finite):
                    kept.append(row)
                else:
                    line = replace(line, row=None, bad=f"{line.source}: {self._fault(computed, row)}")
                    if self.refuse:
                        raise InputError(line.bad)
                row += 1
            self.lines.append(line)
        for name, each in zip(self.form.names, stored, strict=True):
            self.rows[name].append(each[kept])

    def write(self, folder: Path) -> list[ManifestLine]:
        """Write the shard, and return its lines.

        Rows of photos that are gone are taken from the shard that is replaced.

        Raises:
            FileError: If a file cannot be written.
        """
        empty = self.form.empty(bucket_of(self.name))
        tensors = {name: torch.cat([empty, *self.rows[name]]) for name in self.form.names}
        index = [photo.index for photo, line in zip(self.planned, self.lines, strict=True) if line.row is not None]
        if any(line.bad == GONE for line in self.lines):
            self._keep_gone(folder, tensors, index)
        rows = iter(range(len(index)))
        lines = [line if line.row is None else replace(line, row=next(rows)) for line in self.lines]
        write_shard(folder, self.name, {**tensors, "index": torch.tensor(index).long()}, lines, self.form.pack)
        return lines

    def _keep_gone(self, folder: Path, tensors: dict[str, Tensor], index: list[int]) -> None:
        """Insert the rows of gone photos from the files of the shard, where it has them."""
        try:
            shard, (lines, _) = open_shard(folder, self.name), read_manifest(folder, self.name)
            old = {name: shard.get_tensor(name) for name in (*self.form.names, "index")}
        except (FileError, SafetensorError):
            return  # they were never encoded, or nothing is left of them
        rows = {number: row for row, number in enumerate(old["index"].tolist())}
        known = {line.key: line for line in lines}
        for position, photo in enumerate(self.planned):
            if photo.gone and photo.index in rows and photo.key in known and known[photo.key].row is not None:
                self.lines[position] = known[photo.key]
                at = sum(line.row is not None for line in self.lines[:position])
                index.insert(at, photo.index)
                for name in self.form.names:
                    row = old[name][rows[photo.index]][None]
                    tensors[name] = torch.cat([tensors[name][:at], row, tensors[name][at:]])

    def _fault(self, computed: Sequence[Tensor], row: int) -> str:
        values = torch.cat([each[row].flatten().float() for each in computed])
        if not values.isfinite().all():
            return "the model computes NaN or infinite values for it; remove it, or run the model with compute fp32"
        return f"has a latent of {values.abs().max():.3g}, beyond the range of fp16; store latents as bf16 or fp32"
