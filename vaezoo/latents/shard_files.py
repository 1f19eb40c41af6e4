"""The files of a folder of latents: their names, and one shard with its manifest (docs/latents.md has the format)."""

import hashlib
import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from vaezoo.errors import FileError
from vaezoo.io.files import json_lines, opened, write_text
from vaezoo.io.tensor_file import sha256_of_tensors, write_tensors
from vaezoo.latents.channel_sums import ChannelSums
from vaezoo.nn.distributions import Deterministic, Gaussian, Posterior

FORMAT, VERSION = "vaezoo-latents", 1
PLAN, PLANNED_PHOTOS, DATASET, SHARDS = "plan.json", "plan.jsonl", "dataset.json", "shards"
POSTERIORS: dict[str, type[Posterior]] = {"moments": Gaussian, "mean": Deterministic}  # by the tensor that stores them
METADATA = "vaezoo_latents"  # one entry of JSON: safetensors writes several entries in random order
REMEDY = "encode the data set into the same folder again, which makes only what is missing"
_LINE_KEYS = ("key", "row", "source", "size", "mtime", "sha256", "crop", "resized", "bad", "label", "caption")


@dataclass(frozen=True, kw_only=True)
class ManifestLine:
    """What the manifest of a shard says about one photo.

    Args:
        key: Name of the photo, unique in the data set.
        row: Row in the tensors of the shard; `None` for a bad photo, which has none.
        source: File of the photo, or its place in an archive or data set.
        size: Bytes of the photo as the source lists them; `None` if it does not.
        mtime: Time of the last change, in seconds since 1970, as the source lists it; `None` if it does not.
        sha256: SHA-256 of the bytes that were read, 64 hexadecimal digits; `None` if they could not be read.
        crop: Left, top, right and bottom of the encoded part, in pixels of the upright photo.
        resized: Width and height to which the crop was resized, in pixels.
        bad: Why the photo was not encoded; `None` if it was.
        label: Class of the photo: its subfolder, or what the data set has as its label.
        caption: Text that describes the photo.
    """

    key: str
    row: int | None
    source: str
    size: int | None = None
    mtime: float | None = None
    sha256: str | None = None
    crop: tuple[float, float, float, float] | None = None
    resized: tuple[int, int] | None = None
    bad: str | None = None
    label: str | int | None = None
    caption: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the line as plain data, without what is `None`, except for `row`."""
        return {name: value for name, value in asdict(self).items() if value is not None or name == "row"}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ManifestLine":
        """Restore a line; keys that other versions may have added are passed over."""
        known: dict[str, Any] = {name: data[name] for name in _LINE_KEYS if name in data}
        for name in {"crop", "resized"} & known.keys():
            known[name] = tuple(known[name])
        return cls(**known)


@dataclass(frozen=True)
class ShardHeader:
    """The metadata of a shard's tensors.

    Args:
        bucket: Size of its photos in pixels, width x height, such as "1216x832".
        count: Number of rows.
        manifest_sha256: SHA-256 of the bytes of its manifest.
        sums: Sums over the modes of the posteriors as stored, not mirrored.
        tensors_sha256: SHA-256 of the tensors (`sha256_of_tensors`); `None` for shards of earlier versions.
    """

    bucket: str
    count: int
    manifest_sha256: str
    sums: ChannelSums
    tensors_sha256: str | None = None


def shard_name(number: int, bucket: str) -> str:
    """Return the name of a shard, such as `00012-1216x832`."""
    return f"{number:05d}-{bucket}"


def bucket_of(name: str) -> str:
    """Return the bucket of a shard by its name."""
    return name.partition("-")[2]


def sides_of(bucket: str) -> tuple[int, int]:
    """Return width and height in pixels of a bucket such as "1216x832"."""
    width, height = map(int, bucket.split("x"))
    return width, height


def shards_in(folder: Path) -> list[str]:
    """Return the names of the shards whose tensors are in a folder, in order."""
    return sorted(path.stem for path in (folder / SHARDS).glob("[!.]*.safetensors"))


def tensors_path(folder: Path, name: str) -> Path:
    """Return the path of a shard's tensors; the shard is done once it exists and fits the manifest."""
    return folder / SHARDS / f"{name}.safetensors"


def manifest_path(folder: Path, name: str) -> Path:
    """Return the path of a shard's manifest, a line of JSON for each photo."""
    return folder / SHARDS / f"{name}.jsonl"


def write_shard(
    folder: Path, name: str, tensors: Mapping[str, Tensor], lines: Sequence[ManifestLine], pack: int = 1
) -> ShardHeader:
    """Write a shard: first its manifest, then its tensors, each atomically.

    Equal arguments give equal bytes.

    Args:
        folder: Folder of the latents, with the subfolder `SHARDS`.
        name: Name of the shard, from `shard_name`.
        tensors: `moments` (N, 2C, h, w) or, if latents are deterministic, `mean` (N, C, h, w), in raw units; `index`
            (N,), int64; and optionally `moments_flip` or `mean_flip`.
        lines: Its photos; their rows count from 0 to N - 1.
        pack: Side of the patches of `LatentStats.pack`, 1 for none.

    Raises:
        FileError: If a file cannot be written.
    """
    text = json_lines(line.to_dict() for line in lines)
    digest = hashlib.sha256(text.encode()).hexdigest()
    sums = ChannelSums.of(modes(tensors), pack)
    header = ShardHeader(bucket_of(name), len(tensors["index"]), digest, sums, sha256_of_tensors(tensors))
    plain = {"format": FORMAT, "version": VERSION, **asdict(header), "sums": sums.to_dict()}
    write_text(manifest_path(folder, name), text)
    write_tensors(tensors, tensors_path(folder, name), {METADATA: json.dumps(plain, sort_keys=True)})
    return header


def stored_name(names: Container[str]) -> str:
    """Return which of `POSTERIORS` a shard stores, by the names of its tensors."""
    return "mean" if "mean" in names else "moments"


def modes(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the modes of the posteriors of a shard, of shape (N, C, h, w)."""
    name = stored_name(tensors)
    return POSTERIORS[name](tensors[name]).mode()


def open_shard(folder: Path, name: str) -> safe_open:
    """Open the tensors of a shard; `get_slice` and `get_tensor` of the result read them from the mapped file.

    Raises:
        FileError: If the file is missing or damaged.
    """
    path = tensors_path(folder, name)
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise FileError(f"{path}: missing or damaged ({error}); {REMEDY}") from error


def read_header(folder: Path, name: str) -> ShardHeader:
    """Read the metadata of a shard's tensors.

    Raises:
        FileError: If the file is missing, damaged or of another format.
    """
    path = tensors_path(folder, name)
    try:
        data = dict(json.loads((open_shard(folder, name).metadata() or {})[METADATA]))
        check_version(data, path)
        sums = ChannelSums.from_dict(data["sums"])
        return ShardHeader(data["bucket"], data["count"], data["manifest_sha256"], sums, data.get("tensors_sha256"))
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise FileError(f"{path}: not a shard of latents ({error!r}); remove it, then {REMEDY}") from error


def read_manifest(folder: Path, name: str) -> tuple[list[ManifestLine], str]:
    """Read the manifest of a shard: its lines, and the SHA-256 of its bytes.

    Raises:
        FileError: If the file is missing or damaged.
    """
    lines, digest = read_raw_manifest(folder, name)
    try:
        return [ManifestLine.from_dict(line) for _, line in lines], digest
    except TypeError as error:
        raise FileError(f"{manifest_path(folder, name)}: damaged ({error}); {REMEDY}") from error


def read_raw_manifest(folder: Path, name: str) -> tuple[list[tuple[tuple[int, int], dict[str, Any]]], str]:
    """Read the manifest of a shard: the bytes of each line and its JSON, and the SHA-256 of the file.

    Raises:
        FileError: If the file is missing or damaged.
    """
    path, at, lines = manifest_path(folder, name), 0, []
    with opened(path) as file:
        content = file.read()
    try:
        for line in content.split(b"\n"):
            if line:
                lines.append(((at, at + len(line)), json.loads(line)))
            at += len(line) + 1
    except (ValueError, RecursionError) as error:  # RecursionError: very deep nesting
        raise FileError(f"{path}: damaged ({error}); {REMEDY}") from error
    return lines, hashlib.sha256(content).hexdigest()


def read_shard(folder: Path, name: str) -> tuple[ShardHeader, list[ManifestLine]]:
    """Read the header and the manifest of a finished shard.

    Raises:
        FileError: If a file is missing or damaged, or the two do not belong together.
    """
    header, (lines, digest) = read_header(folder, name), read_manifest(folder, name)
    if header.manifest_sha256 != digest:
        raise FileError(f"{manifest_path(folder, name)}: not the manifest of the tensors beside it; {REMEDY}")
    return header, lines


def check_version(data: Mapping[str, Any], path: Path) -> None:
    """Check the format and version in the JSON of a file.

    Raises:
        FileError: If they are not those of this module.
    """
    if data.get("format") != FORMAT:
        raise FileError(f"{path}: not written by vaezoo encode; name a folder of latents")
    if data.get("version") != VERSION:
        raise FileError(
            f"{path}: version {data.get('version')} of the format, and this vaezoo reads {VERSION}; update vaezoo"
        )
