"""The plan of an encoding: which photo goes into which shard."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaezoo.data.photo_place import PhotoPlace
from vaezoo.errors import FileError
from vaezoo.io.files import json_lines, opened, write_text
from vaezoo.latents.shard_files import PLANNED_PHOTOS, ManifestLine, read_shard, shard_name

GONE = "gone from the source before it was encoded"


@dataclass(frozen=True, kw_only=True)
class PlannedPhoto:
    """A photo of the plan.

    Args:
        index: Number of the photo in the data set, which stays the same.
        key: Name of the photo.
        place: Where its bytes are.
        size: Bytes, as the source lists them.
        mtime: Time of the last change in seconds since 1970, as the source lists it.
        bucket: Size in pixels to which it is brought; `None` if it cannot be read.
        shard: Number of its shard; `None` if it cannot be read.
        label: Its label, if asked for.
        caption: Its caption, if asked for.
        sha256: SHA-256 that its encoded bytes must have, once `--verify` has found others.
        bad: Why it has no bucket.
        gone: Whether the source no longer has it.
    """

    index: int
    key: str
    place: PhotoPlace
    size: int | None = None
    mtime: float | None = None
    bucket: str | None = None
    shard: int | None = None
    label: str | int | None = None
    caption: str | None = None
    sha256: str | None = None
    bad: str | None = None
    gone: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the photo as plain data, without what is `None` or `False`."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__} | {"place": self.place.to_dict()}
        return {name: value for name, value in data.items() if value is not None and value is not False}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "PlannedPhoto":
        """Restore a photo from what `to_dict` returns."""
        return cls(**{**data, "place": PhotoPlace.from_dict(data["place"])})

    def fits(self, line: ManifestLine) -> bool:
        """Whether a line of a manifest is about the photo as it is now."""
        same = all(getattr(self, name) == getattr(line, name) for name in ("key", "size", "mtime", "label", "caption"))
        verified = self.sha256 in (None, line.sha256)
        return same and verified and line.source == self.place.location and (self.gone or line.bad != GONE)


def shards_of(plan: Iterable[PlannedPhoto]) -> dict[str, list[PlannedPhoto]]:
    """Return the photos of each shard by its name, shards by number and photos by index."""
    found: dict[tuple[int, str], list[PlannedPhoto]] = defaultdict(list)
    for photo in plan:
        if photo.shard is not None and photo.bucket is not None:
            found[photo.shard, photo.bucket].append(photo)
    return {shard_name(*key): sorted(found[key], key=lambda photo: photo.index) for key in sorted(found)}


def is_done(folder: Path, name: str, planned: Sequence[PlannedPhoto]) -> bool:
    """Whether a shard is written, whole, and of the photos of the plan as they are now."""
    try:
        _, lines = read_shard(folder, name)
    except FileError:
        return False
    return len(lines) == len(planned) and all(photo.fits(line) for photo, line in zip(planned, lines, strict=True))


def read_photos(folder: Path) -> list[PlannedPhoto]:
    """Read the photos of a plan; none if there is no plan.

    Raises:
        FileError: If the file is damaged.
    """
    path = folder / PLANNED_PHOTOS
    if not path.exists():
        return []
    with opened(path) as file:
        try:
            return [PlannedPhoto.from_dict(json.loads(line)) for line in file]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FileError(f"{path}: damaged ({error!r}); restore it, or encode into another folder") from error


def write_photos(folder: Path, plan: Iterable[PlannedPhoto]) -> None:
    """Write the photos of a plan, atomically, unless the file has them already."""
    path, text = folder / PLANNED_PHOTOS, json_lines(photo.to_dict() for photo in plan)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
