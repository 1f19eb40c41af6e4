"""`check_latents`: whether a folder of latents is whole, fault by fault."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from vaezoo.errors import FileError
from vaezoo.io.files import read_json
from vaezoo.io.tensor_file import sha256_of_tensors
from vaezoo.latents.channel_sums import ChannelSums
from vaezoo.latents.encode_plan import is_done, read_photos, shards_of
from vaezoo.latents.latent_folder import check_has_plan, read_about
from vaezoo.latents.planner import Track
from vaezoo.latents.shard_files import (
    DATASET,
    PLAN,
    PLANNED_PHOTOS,
    REMEDY,
    ManifestLine,
    ShardHeader,
    check_version,
    modes,
    open_shard,
    read_shard,
    shards_in,
    tensors_path,
)
from vaezoo.specs.stats import LatentStats

CLOSE = 1e-6  # relative difference of statistics that rounding explains
SHOWN = 5  # rows that a message lists


def check_latents(folder: str | Path, track: Track = lambda items, label: items) -> Iterator[str]:
    """Check a folder of latents: every value of it is read.

    Every shard must be readable and finite, of the size that its name says, and fit its manifest; sums, statistics and
    hashes must be those of the values; no photo may be there twice, and none of the plan may be missing.

    Args:
        folder: Folder that `vaezoo encode` wrote.
        track: Function that iterates over items, for example to show progress; takes a label.

    Yields:
        A sentence for each fault; none if the folder is whole.

    Raises:
        FileError: If this is no folder of latents.
    """
    folder = Path(folder)
    check_has_plan(folder)
    check_version(read_json(folder / PLAN, REMEDY), folder / PLAN)
    try:
        about = read_about(folder / DATASET)
    except FileError as error:
        yield str(error)
        about = None
    contents = _Contents(folder)
    for name in track(shards_in(folder), "check"):
        yield from contents.add(name)
    yield from contents.against_plan()
    if about is not None:
        yield from contents.against_dataset(about)


class _Contents:
    """What the shards of a folder hold, as far as they have been read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.headers: dict[str, ShardHeader] = {}
        self.sums: list[ChannelSums] = []
        self.keys: dict[str, str] = {}  # the shard of each photo
        self.indices: dict[int, str] = {}  # the shard of each sample

    def add(self, name: str) -> Iterator[str]:
        """Read a shard, and yield its faults."""
        try:
            header, lines = read_shard(self.folder, name)
            tensors = open_shard(self.folder, name)
            values = {key: tensors.get_tensor(key) for key in tensors.keys()}  # noqa: SIM118
        except FileError as error:
            yield str(error)
            return
        except SafetensorError as error:
            yield f"{tensors_path(self.folder, name)}: damaged ({error}); {REMEDY}"
            return
        self.headers[name] = header
        digest = sha256_of_tensors(values)
        index = values.pop("index", torch.zeros(0))
        found = [*_line_faults(header, lines), *_value_faults(header, values, index)]
        found += _repeated(self.keys, [line.key for line in lines], name)
        found += _repeated(self.indices, index.tolist(), name)
        if not found:
            self.sums.append(ChannelSums.of(modes(values), header.sums.pack))
            if self.sums[-1] != header.sums:
                found.append("the sums in its header are not those of its latents")
            elif header.tensors_sha256 not in (digest, None):
                found.append(f"its tensors are not those that were written; remove it, then {REMEDY}")
        yield from (f"{tensors_path(self.folder, name)}: {text}" for text in found)

    def against_plan(self) -> Iterator[str]:
        """Faults of the shards beside the plan: those that are missing, of other photos, or too many."""
        try:
            planned = shards_of(read_photos(self.folder))
        except FileError as error:
            yield str(error)
            return
        for name, photos in planned.items():
            path = tensors_path(self.folder, name)
            if name in self.headers and not is_done(self.folder, name, photos):
                yield f"{path}: not of the photos that {PLANNED_PHOTOS} has for it now; {REMEDY}"
            elif not path.exists():
                yield f"{path}: missing; {REMEDY}"
        for name in sorted(self.headers.keys() - planned.keys()):
            yield f"{tensors_path(self.folder, name)}: not in {PLANNED_PHOTOS}; {REMEDY}"

    def against_dataset(self, about: Mapping[str, Any]) -> Iterator[str]:
        """Faults of dataset.json: what it says beside what is there."""
        path = self.folder / DATASET
        listed = {shard["name"]: (shard["count"], shard["manifest_sha256"]) for shard in about["shards"]}
        found = {name: (header.count, header.manifest_sha256) for name, header in self.headers.items()}
        for name in sorted(listed.keys() | found.keys()):
            if name in found and listed.get(name) != found[name]:
                yield f"{path}: does not have shard {name} as it is now; {REMEDY}"
        count = sum(header.count for header in self.headers.values())
        if about["count"] != count:
            yield f"{path}: count is {about['count']:,}, and the shards have {count:,}; {REMEDY}"
        stats = ChannelSums.merged(self.sums).latent_stats if self.sums else None
        if len(self.sums) == len(listed) and not _close(stats, about["latent_stats"]):
            yield f"{path}: latent_stats are not those of the latents; {REMEDY}"


def _line_faults(header: ShardHeader, lines: Sequence[ManifestLine]) -> Iterator[str]:
    rows = sorted(line.row for line in lines if line.row is not None)
    if rows != list(range(header.count)):
        yield f"its manifest has {len(rows)} rows, and the header says {header.count}"
    for line in lines:
        if (line.row is None) != (line.bad is not None):
            yield f"{line.key} has neither a row nor a reason why not"


def _value_faults(header: ShardHeader, values: Mapping[str, Tensor], index: Tensor) -> Iterator[str]:
    if not {"moments", "mean"} & values.keys():
        yield "has no latents"
    for key, tensor in {**values, "index": index}.items():
        if len(tensor) != header.count:
            yield f"{key} has {len(tensor)} rows, and the header says {header.count}"
        elif not (finite := tensor.flatten(1).isfinite().all(dim=1) if tensor.ndim > 1 else tensor.isfinite()).all():
            rows = (~finite).nonzero().flatten().tolist()
            yield f"{key} has values that are not finite, in rows {', '.join(map(str, rows[:SHOWN]))}"


def _repeated(seen: dict[Any, str], found: Sequence[Any], name: str) -> Iterator[str]:
    """What is in a shard and was seen before, which is then added to `seen`."""
    for each in found:
        if each in seen:
            yield f"{each} is in {'it' if seen[each] == name else f'shard {seen[each]}'} already"
        seen[each] = name


def _close(stats: LatentStats | None, said: Mapping[str, Any] | None) -> bool:
    if stats is None or said is None:
        return stats is None and said is None
    pairs = ((getattr(stats, key), said.get(key) or ()) for key in ("mean", "std"))
    return all(len(ours) == len(theirs) and np.allclose(ours, theirs, rtol=CLOSE, atol=CLOSE) for ours, theirs in pairs)
