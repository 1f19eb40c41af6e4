"""Folders of latents as `vaezoo encode` writes them, of random numbers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from vaezoo.latents.channel_sums import ChannelSums
from vaezoo.latents.shard_files import (
    DATASET,
    FORMAT,
    PLAN,
    PLANNED_PHOTOS,
    SHARDS,
    VERSION,
    ManifestLine,
    shard_name,
    write_shard,
)

SHARD_SIZE = 4
MODEL = {
    "name": "vae_f8_z4_micro",
    "spec_hash": "0" * 64,
    "repo": None,
    "commit": None,
    "sha256": "0" * 64,
    "latent": {"kind": "gaussian", "channels": 4},
    "downscale": 8,
    "size_multiple": 8,
    "pack": 1,
}
PLAIN = {
    "format": FORMAT,
    "version": VERSION,
    "model": MODEL,
    "preprocessing": {"resize": "buckets", "size": 64, "flip": True},
}


def write_latents(
    folder: Path,
    buckets: Mapping[str, int],
    *,
    kind: str = "moments",
    flip: bool = True,
    dtype: torch.dtype = torch.bfloat16,
    labels: Sequence[str | int | None] = (),
    captions: bool = False,
    bad: bool = True,
) -> Path:
    """Write a folder of latents.

    Args:
        folder: Where to write it.
        buckets: Number of photos of each bucket.
        kind: "moments" or "mean".
        flip: Whether to write mirrored latents, which are the negative of the others.
        dtype: Dtype of the latents.
        labels: Labels that the photos have in turn.
        captions: Whether to give each photo a caption.
        bad: Whether the first shard has a photo that could not be read.
    """
    (folder / SHARDS).mkdir(parents=True)
    shards, plan, parts = [], [], []
    for bucket, count in buckets.items():
        for start in range(0, count, SHARD_SIZE):
            size = min(SHARD_SIZE, count - start)
            lines = [line(bucket, start + row, row, labels, captions) for row in range(size)]
            if bad and not shards:
                lines.insert(1, ManifestLine(key="bad.png", row=None, source="/x/bad.png", bad="cut off"))
            indices = range(len(plan), len(plan) + len(lines))
            kept = [i for i, each in zip(indices, lines, strict=True) if each.row is not None]
            name = shard_name(len(shards), bucket)
            header = write_shard(folder, name, latents(bucket, kept, kind, flip, dtype), lines)
            shards.append({"name": name, "count": header.count, "manifest_sha256": header.manifest_sha256})
            parts.append(header.sums)
            plan += [{"index": i, "key": each.key} for i, each in zip(indices, lines, strict=True)]
    (folder / PLAN).write_text(json.dumps(PLAIN))
    (folder / PLANNED_PHOTOS).write_text("".join(json.dumps(each) + "\n" for each in plan))
    stats = ChannelSums.merged(parts).latent_stats
    about = {**PLAIN, "latent_stats": stats and stats.to_dict(), "count": sum(buckets.values()), "buckets": buckets}
    about |= {"shards": shards, "bad": [{"key": "bad.png", "reason": "cut off"}] if bad else [], "gone": []}
    (folder / DATASET).write_text(json.dumps(about))
    return folder


def line(bucket: str, number: int, row: int, labels: Sequence[str | int | None], captions: bool) -> ManifestLine:
    width, height = map(int, bucket.split("x"))
    return ManifestLine(
        key=f"{bucket}/{number}.png",
        row=row,
        source=f"/x/{bucket}/{number}.png",
        crop=(0, 0, 2 * width, 2 * height),
        resized=(width, height),
        label=labels[number % len(labels)] if labels else None,
        caption=f"photo {number}" if captions else None,
    )


def latents(bucket: str, indices: Sequence[int], kind: str, flip: bool, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    width, height = map(int, bucket.split("x"))
    channels = 8 if kind == "moments" else 4
    seeds = [torch.Generator().manual_seed(index) for index in indices]
    moments = torch.stack([torch.randn(channels, height // 8, width // 8, generator=seed) for seed in seeds]).to(dtype)
    mirrored = {f"{kind}_flip": -moments} if flip else {}
    return {kind: moments, **mirrored, "index": torch.tensor(indices)}
