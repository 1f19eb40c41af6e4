"""Folders with a model in them, on disk or on the Hub at one commit, behind one interface."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from vaezoo.errors import CheckpointError, FileError, HubError, SpecError, VaezooError
from vaezoo.io.files import sha256_of
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.names import ModelName
from vaezoo.specs.source import WeightsSource
from vaezoo.weights.cached import REMEDY, known_sha256
from vaezoo.weights.config_json import CONFIG, about_pickles
from vaezoo.weights.hub import Hub
from vaezoo.weights.load import check_digest, check_sha256
from vaezoo.weights.lock import Pin
from vaezoo.weights.snapshot import pending_name


class Folder(Protocol):
    """A folder with files; messages call it by its `name`."""

    @property
    def name(self) -> ModelName:
        """The name that messages call the folder by."""

    def find(self, file: str) -> Path | None:
        """The path of a file, or `None` if the folder has no such file."""

    def read(self, file: str, sha256: str | None = None) -> Path:
        """The path of a file, which must be there and have this SHA-256 (`None` accepts any) if `check` passes."""

    def check(self, path: Path, sha256: str | None) -> None:
        """Compare a file that `read` returned with its SHA-256, if `read` has not done so."""

    def source(self, spec: ModelSpec, files: Sequence[Path] = (), sha256: str | None = None) -> WeightsSource:
        """The source of the weights in `files`; of the weights that the folder describes if none were read."""

    def error(self, text: str) -> VaezooError:
        """An error about the folder itself."""


@dataclass(frozen=True)
class LocalFolder:
    """A folder on disk."""

    name: ModelName

    def find(self, file: str) -> Path | None:
        """See `Folder.find`."""
        path = self._path() / file
        return path if path.is_file() else None

    def read(self, file: str, sha256: str | None = None) -> Path:
        """See `Folder.read`.

        Raises:
            FileError: If there is no such folder or file; the text lists the files that are there.
        """
        path = (self.find(pending_name(sha256)) if sha256 else None) or self.find(file)
        if path is None:
            names = sorted(entry.name for entry in self._path().iterdir())
            present = ", ".join(names[:10]) or "nothing"
            hint = "; vaezoo.save writes such folders" if file == CONFIG else about_pickles(names)
            raise self.error(f"no {file} in it, only {present}{hint}")
        return path

    def check(self, path: Path, sha256: str | None) -> None:
        """See `Folder.check`; it is not part of `read` because it takes as long as reading the whole file.

        Raises:
            CheckpointError: If the file has another SHA-256.
            FileError: If it cannot be read.
        """
        check_sha256(path, sha256, f"{CONFIG} was saved with other weights; save the folder again")

    def source(self, spec: ModelSpec, files: Sequence[Path] = (), sha256: str | None = None) -> WeightsSource:
        """See `Folder.source`."""
        return WeightsSource(self.name.text, tuple(files), spec.name, known_sha256=sha256)

    def error(self, text: str) -> VaezooError:
        """See `Folder.error`."""
        return FileError(f"{self.name.text}: {text}")

    def _path(self) -> Path:
        folder = os.path.join(self.name.id, self.name.subfolder) if self.name.subfolder else self.name.id
        if not os.path.isdir(folder):  # unlike pathlib, it accepts any text
            kind = f"a file; write file:{folder}" if os.path.isfile(folder) else "no such folder"
            raise self.error(f"{kind}{self._hash_hint()}")
        return Path(folder)

    def _hash_hint(self) -> str:
        """How to write the name of a folder that has a # in it."""
        own = f"{self.name.id}#{self.name.subfolder}"
        exists = self.name.subfolder and os.path.isdir(own)
        return f"; the folder {own} is written local-dir:{own}#." if exists else ""


@dataclass(frozen=True)
class HubFolder:
    """A repository on the Hub, or a folder in it, at one commit.

    Args:
        name: The name that was asked for.
        hub: How to reach the Hub.
        commit: Commit to read, 40 hexadecimal digits.
        pin: The entry of the lock file for this name, if it has one.
        fetched: Paths of the files found so far, by their names in the repository.
        digests: SHA-256 of those that had to be compared with a known one.
    """

    name: ModelName
    hub: Hub
    commit: str
    pin: Pin | None = None
    fetched: dict[str, Path] = field(default_factory=dict)
    digests: dict[Path, str | None] = field(default_factory=dict)

    def find(self, file: str) -> Path | None:
        """See `Folder.find`."""
        path = self.hub.find(self.name.id, self._file(file), self.commit)
        return self._checked(file, path, None) if path else None

    def read(self, file: str, sha256: str | None = None) -> Path:
        """See `Folder.read`.

        Raises:
            HubError: If the repository has no such file, or it has another SHA-256.
        """
        return self._checked(file, self.hub.fetch(self.name.id, self._file(file), self.commit), sha256)

    def check(self, path: Path, sha256: str | None) -> None:
        """See `Folder.check`; `read` has compared the file already."""

    def source(self, spec: ModelSpec, files: Sequence[Path] = (), sha256: str | None = None) -> WeightsSource:
        """See `Folder.source`."""
        known = self.digests[files[0]] if len(files) == 1 else sha256
        return WeightsSource(self.name.text, tuple(files), spec.name, None, self.name.id, self.commit, known)

    def _checked(self, file: str, path: Path, sha256: str | None) -> Path:
        """The path of a file, after comparing it with `sha256` and with the lock file."""
        file = self._file(file)
        if self.pin and self.pin.sha256(file) is None:
            raise SpecError(
                f"{self.pin.location}: {self.name.text}: {file} is needed and not in this lock: remove the entry, or "
                f"name the commit, @{self.commit}"
            )
        self.fetched[file] = path
        self.digests[path] = check_fetched(path, self.name.id, file, sha256, self.pin)
        return path

    def error(self, text: str) -> VaezooError:
        """See `Folder.error`."""
        return HubError("file", f"{self.name.text}: {text}")

    def _file(self, file: str) -> str:
        return f"{self.name.subfolder}/{file}" if self.name.subfolder else file


def check_fetched(path: Path, repo: str, file: str, sha256: str | None, pin: Pin | None) -> str | None:
    """Compare a file that `Hub.fetch` returned with the SHA-256 on record and in the lock file.

    Returns:
        Its SHA-256, or `None` if neither names one, so that there is nothing to compare.

    Raises:
        HubError: If it differs from one of them.
    """
    pinned = pin.sha256(file) if pin else None
    if sha256 is None and pinned is None:
        return None
    digest = known_sha256(path) or sha256_of(path)
    try:
        check_digest(path, digest, sha256, REMEDY)
        if pin:
            check_digest(path, digest, pinned, f"{REMEDY}, or remove the entry at {pin.location}")
    except CheckpointError as error:
        raise HubError("hash", f"{repo}: {error}") from error
    return digest
