"""Folders of latents as `vaezoo encode` writes them, of random numbers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from vaezoo.data.photo_place import PhotoPlace
from vaezoo.latents.channel_sums import ChannelSums
from vaezoo.latents.encode_plan import PlannedPhoto, write_photos
from vaezoo.latents.shard_files import (
    DATASET,
    FORMAT,
    PLAN,
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
    "preprocessing": {"resize": "kohya", "size": 64, "flip": True},
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
    channels: int = 4,
    keys: Mapping[int, str] | None = None,
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
        channels: Latent channels.
        keys: Keys of photos by their number in the bucket, in place of "BUCKET/NUMBER.png".
    """
    (folder / SHARDS).mkdir(parents=True)
    shards, plan, parts = [], [], []
    for bucket, count in buckets.items():
        for start in range(0, count, SHARD_SIZE):
            size = min(SHARD_SIZE, count - start)
            lines = [line(bucket, start + row, row, labels, captions, keys or {}) for row in range(size)]
            if bad and not shards:
                lines.insert(1, ManifestLine(key="bad.png", row=None, source="/x/bad.png", bad="cut off"))
            indices = range(len(plan), len(plan) + len(lines))
            kept = [i for i, each in zip(indices, lines, strict=True) if each.row is not None]
            name = shard_name(len(shards), bucket)
            header = write_shard(folder, name, latents(bucket, kept, kind, flip, dtype, channels), lines)
            shards.append({"name": name, "count": header.count, "manifest_sha256": header.manifest_sha256})
            parts.append(header.sums)
            for index, each in zip(indices, lines, strict=True):
                place = PhotoPlace(each.source, each.source)
                known = {"label": each.label, "caption": each.caption}
                plan.append(
                    PlannedPhoto(index=index, key=each.key, place=place, bucket=bucket, shard=len(shards) - 1, **known)
                )
    (folder / PLAN).write_text(json.dumps(PLAIN))
    write_photos(folder, plan)
    stats = ChannelSums.merged(parts).latent_stats
    about = {**PLAIN, "latent_stats": stats and stats.to_dict(), "count": sum(buckets.values()), "buckets": buckets}
    about |= {"shards": shards, "bad": [{"key": "bad.png", "reason": "cut off"}] if bad else [], "gone": []}
    (folder / DATASET).write_text(json.dumps(about))
    return folder


def line(
    bucket: str, number: int, row: int, labels: Sequence[str | int | None], captions: bool, keys: Mapping[int, str]
) -> ManifestLine:
    width, height = map(int, bucket.split("x"))
    return ManifestLine(
        key=keys.get(number, f"{bucket}/{number}.png"),
        row=row,
        source=f"/x/{bucket}/{number}.png",
        crop=(0, 0, 2 * width, 2 * height),
        resized=(width, height),
        label=labels[number % len(labels)] if labels else None,
        caption=f"photo {number}" if captions else None,
    )


def latents(
    bucket: str, indices: Sequence[int], kind: str, flip: bool, dtype: torch.dtype, channels: int
) -> dict[str, torch.Tensor]:
    width, height = (int(side) // 8 for side in bucket.split("x"))
    shape = (channels * (2 if kind == "moments" else 1), height, width)
    moments = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(i)) for i in indices]).to(dtype)
    mirrored = moments.clone()
    mirrored[:, :channels] *= -1
    return {kind: moments, **({f"{kind}_flip": mirrored} if flip else {}), "index": torch.tensor(indices)}
