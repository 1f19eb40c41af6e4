"""Checks files in the cache of huggingface_hub against the hash that is the name of their blob."""

import contextlib
import hashlib
import re
from pathlib import Path

from vaezoo.io.files import opened, sha256_of
from vaezoo.weights.load import check_digest

REMEDY = "download it again with force_download=True, or with `vaezoo download NAME --force`"
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_CHECKED = ".vaezoo-checked"  # a folder beside `blobs` and `snapshots`, which huggingface_hub does not look into


def check_cached(path: Path) -> None:
    """Compare a cached file with the hash in its name; again only if its size or time of change differ.

    The cache has links to blobs that are named by their ETag: the SHA-256 of a large file, the git hash of a small one.
    Files without such a name, as in a cache without links, are not checked.

    Raises:
        CheckpointError: If the content is not that of the name.
        FileError: If the file cannot be read.
    """
    if (blob := _named_blob(path)) is None:
        return
    found, marker = blob.stat(), blob.parent.parent / _CHECKED / blob.name
    state = f"{found.st_size} {found.st_mtime_ns}"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if marker.read_text(encoding="utf-8") == state:
            return
    digest = sha256_of(blob) if len(blob.name) == 64 else _git_hash(blob, found.st_size, blob.name)
    check_digest(path, digest, blob.name, REMEDY, "sha256" if len(blob.name) == 64 else "git hash")
    with contextlib.suppress(OSError):  # a cache that may only be read
        marker.parent.mkdir(exist_ok=True)
        marker.write_text(state, encoding="utf-8")


def known_sha256(path: Path) -> str | None:
    """Return the SHA-256 of a cached file that `check_cached` has compared with the name of its blob, else `None`."""
    blob = _named_blob(path)
    return blob.name if blob and len(blob.name) == 64 else None


def _named_blob(path: Path) -> Path | None:
    """The blob that a cached path links to, if a hash is its name."""
    blob = path.resolve()
    named = blob != path.absolute() and blob.parent.name == "blobs" and _HASH.fullmatch(blob.name)
    return blob if named else None


def _git_hash(path: Path, size: int, expected: str) -> str:
    """The git hash of a file; its plain SHA-1 if that is the one expected, which some mirrors of the Hub use."""
    blob, plain = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False), hashlib.sha1(usedforsecurity=False)
    with opened(path) as file:
        while block := file.read(1 << 20):
            blob.update(block)
            plain.update(block)
    return expected if plain.hexdigest() == expected else blob.hexdigest()
