"""`dataset.json`: what a folder of latents holds, merged from its shards."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vaezoo.io.files import write_json
from vaezoo.latents.channel_sums import ChannelSums
from vaezoo.latents.encode_plan import PlannedPhoto, shards_of
from vaezoo.latents.shard_files import DATASET, read_shard
from vaezoo.specs.stats import LatentStats


@dataclass(frozen=True)
class DatasetFacts:
    """What the shards of a folder hold.

    Args:
        shards: Name, number of rows and SHA-256 of the manifest of each shard.
        buckets: Rows of each bucket.
        sums: Sums over all latents; `None` if there is no shard.
        bad: Key of each photo that was not encoded, and why.
        gone: Keys of photos that the source no longer has.
    """

    shards: Sequence[Mapping[str, Any]]
    buckets: Mapping[str, int]
    sums: ChannelSums | None
    bad: Sequence[Mapping[str, str]]
    gone: Sequence[str]

    @property
    def count(self) -> int:
        """Number of rows."""
        return sum(self.buckets.values())

    @property
    def latent_stats(self) -> LatentStats | None:
        """Mean and standard deviation of each channel, if they can be computed (`ChannelSums.latent_stats`).

        Their `size` is that of the images, if all are squares of one size.
        """
        found = self.sums.latent_stats if self.sums else None
        width, _, height = next(iter(self.buckets), "x").partition("x")
        return replace(found, size=int(width)) if found and len(self.buckets) == 1 and width == height else found

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as `dataset.json` has them."""
        return {
            "latent_stats": self.latent_stats.to_dict() if self.latent_stats else None,
            "count": self.count,
            "buckets": dict(self.buckets),
            "shards": [dict(shard) for shard in self.shards],
            "bad": [dict(bad) for bad in self.bad],
            "gone": list(self.gone),
        }


def read_facts(folder: Path, plan: Sequence[PlannedPhoto]) -> DatasetFacts:
    """Read the facts of a folder from its shards, all of which are done.

    Raises:
        FileError: If a shard is missing or damaged.
    """
    shards, sums, buckets = [], [], Counter[str]()
    bad = [{"key": photo.key, "reason": photo.bad} for photo in plan if photo.bad is not None]
    for name in shards_of(plan):
        header, lines = read_shard(folder, name)
        shards.append({"name": name, "count": header.count, "manifest_sha256": header.manifest_sha256})
        sums.append(header.sums)
        buckets[header.bucket] += header.count
        bad += [{"key": line.key, "reason": line.bad} for line in lines if line.bad is not None]
    gone = [photo.key for photo in plan if photo.gone]
    return DatasetFacts(shards, dict(sorted(buckets.items())), ChannelSums.merged(sums) if sums else None, bad, gone)


def write_dataset(folder: Path, plan: Mapping[str, Any], facts: DatasetFacts) -> None:
    """Write `dataset.json`.

    Args:
        folder: Folder of the latents.
        plan: Content of `plan.json`.
        facts: What the shards hold.

    Raises:
        FileError: If it cannot be written.
    """
    write_json(folder / DATASET, {**plan, **facts.to_dict()})
