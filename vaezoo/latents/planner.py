"""Makes the plan of an encoding from the photos of a source, and finds what changed since the last one."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vaezoo.data.photos import Photo
from vaezoo.errors import FileError, ImageError, InputError
from vaezoo.latents.encode_plan import PlannedPhoto, is_done, shards_of
from vaezoo.latents.encode_settings import EncodeSettings
from vaezoo.latents.photo_texts import caption_of, label_of
from vaezoo.latents.shard_files import ManifestLine, read_manifest

Track = Callable[[Iterable[Any], str], Iterable[Any]]


@dataclass
class PlanChanges:
    """What a plan found to be different from the one before.

    Args:
        added: Keys of new photos.
        changed: Keys of photos that changed.
        gone: Keys of photos that the source no longer has.
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


def check_keys(found: Iterable[Photo]) -> None:
    """Raise `InputError` if two photos have the same key, or a name cannot be written as UTF-8."""
    seen: dict[str, str] = {}
    for photo in found:
        try:
            photo.location.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{photo.location}: its path is not UTF-8, and keys of photos are; rename it") from error
        if photo.name in seen:
            raise InputError(
                f"{photo.location} and {seen[photo.name]} have the same key, {photo.name}; rename or remove one, or "
                "encode their files into folders of their own"
            )
        seen[photo.name] = photo.location


@dataclass
class Planner:
    """Makes the plan of a folder from the photos of the source.

    Args:
        folder: Folder of the latents.
        settings: Settings of the folder.
        multiple: `VAE.size_multiple` of the model.
        bad: What to do with a photo whose size cannot be read: "skip" or "refuse" it.
        track: Function that iterates over items, for example to show progress; takes a label.
    """

    folder: Path
    settings: EncodeSettings
    multiple: int
    bad: str = "skip"
    track: Track = lambda items, label: items

    def plan(self, old: Sequence[PlannedPhoto], found: Sequence[Photo]) -> tuple[list[PlannedPhoto], PlanChanges]:
        """Return the plan for the photos found, which keeps what it can of the old one, and the changes.

        Raises:
            InputError: If two photos have the same key.
            FileError: If a photo cannot be read and `bad` is "refuse".
            ImageError: If a photo is damaged and `bad` is "refuse".
        """
        check_keys(found)
        changes, known = PlanChanges(), {photo.key: photo for photo in old}
        plan: dict[str, PlannedPhoto] = {photo.key: replace(photo, gone=True) for photo in old}
        numbers = itertools.count(max((photo.index for photo in old), default=-1) + 1)
        for photo in self.track(found, "listing photos"):
            fresh, before = self._described(photo), known.get(photo.name)
            if before and _same_file(before, fresh):
                kept = {name: getattr(before, name) for name in ("index", "bucket", "shard", "sha256", "bad")}
                fresh = replace(fresh, **kept)
            else:
                fresh = self._with_bucket(fresh)
                stays = before is not None and before.bucket == fresh.bucket
                place = (before.index, before.shard) if before and stays else (next(numbers), None)
                fresh = replace(fresh, index=place[0], shard=place[1])
            if before is None:
                changes.added.append(photo.name)
            elif not _same_file(before, fresh) or (before.caption, before.label) != (fresh.caption, fresh.label):
                changes.changed.append(photo.name)
            plan[photo.name] = fresh
        changes.gone = [photo.key for photo in plan.values() if photo.gone]
        return self._with_shards(sorted(plan.values(), key=lambda photo: photo.index)), changes

    def verified(self, plan: Sequence[PlannedPhoto], changes: PlanChanges) -> list[PlannedPhoto]:
        """Return the plan with the SHA-256 of those photos whose bytes are not those that were encoded.

        Raises:
            FileError: If a photo cannot be read.
        """
        encoded: dict[str, ManifestLine] = {}
        for name, planned in shards_of(plan).items():
            if is_done(self.folder, name, planned):
                encoded |= {line.key: line for line in read_manifest(self.folder, name)[0]}
        checked = []
        for photo in self.track(plan, "verifying photos"):
            line = encoded.get(photo.key)
            if line and not photo.gone and (digest := _sha256(photo)) != line.sha256:
                changes.changed.append(photo.key)
                photo = replace(photo, sha256=digest)
            checked.append(photo)
        return checked

    def _described(self, photo: Photo) -> PlannedPhoto:
        if photo.place is None:
            raise InputError(f"{photo.location}: a photo of a stream cannot be encoded")
        caption = caption_of(photo) if self.settings.captions else None
        label = label_of(photo) if self.settings.labels else None
        described = PlannedPhoto(index=-1, key=photo.name, place=photo.place, caption=caption, label=label)
        try:
            size, mtime = photo.stat()
        except FileError:
            if self.bad == "refuse":
                raise
            return described  # deleted since it was listed, or unreadable, as its shard will say
        return replace(described, size=size, mtime=mtime)

    def _with_bucket(self, photo: PlannedPhoto) -> PlannedPhoto:
        framing = self.settings.framing(self.multiple)
        if framing.fixed:
            return replace(photo, bucket=framing.fixed)
        try:
            return replace(photo, bucket=framing.frame(*photo.place.size(), photo.place.location).bucket)
        except (ImageError, FileError) as error:
            if self.bad == "refuse":
                raise
            return replace(photo, bad=str(error))

    def _with_shards(self, plan: Sequence[PlannedPhoto]) -> list[PlannedPhoto]:
        """Put the photos without a shard into new shards, one bucket after the other."""
        buckets: dict[str, list[PlannedPhoto]] = defaultdict(list)
        for photo in plan:
            if photo.shard is None and photo.bucket is not None:
                buckets[photo.bucket].append(photo)
        number = max((photo.shard for photo in plan if photo.shard is not None), default=-1) + 1
        shards: dict[int, int] = {}
        for photos in buckets.values():
            for start in range(0, len(photos), self.settings.shard_size):
                shards |= {photo.index: number for photo in photos[start : start + self.settings.shard_size]}
                number += 1
        return [replace(photo, shard=shards[photo.index]) if photo.index in shards else photo for photo in plan]


def _same_file(a: PlannedPhoto, b: PlannedPhoto) -> bool:
    return (a.size, a.mtime, a.place.path) == (b.size, b.mtime, b.place.path)


def _sha256(photo: PlannedPhoto) -> str | None:
    try:
        return photo.place.sha256()
    except (ImageError, FileError):
        return None  # as for a photo that could not be read when it was encoded
