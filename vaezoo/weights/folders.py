"""Where a folder lies: files by their names, on disk, or on a Hub at one commit."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from vaezoo.errors import CheckpointError, FileError, HubError, SpecError, VaezooError
from vaezoo.specs.names import ModelName
from vaezoo.weights.config_json import CONFIG, about_pickles
from vaezoo.weights.hub import Hub
from vaezoo.weights.load import check_sha256
from vaezoo.weights.lock import Pin


class Folder(Protocol):
    """A folder with files; `name` is what it is called in messages."""

    @property
    def name(self) -> ModelName: ...

    def find(self, file: str) -> Path | None:
        """The path of a file, or None where the folder lacks it."""

    def read(self, file: str, sha256: str | None = None) -> Path:
        """The path of a file, compared with the hash on record; raises an error that says what is there instead."""

    def error(self, text: str) -> VaezooError:
        """An error on this folder as such."""


@dataclass(frozen=True)
class LocalFolder:
    """A folder on disk."""

    name: ModelName

    def find(self, file: str) -> Path | None:
        path = self._path() / file
        return path if path.is_file() else None

    def read(self, file: str, sha256: str | None = None) -> Path:
        path = self.find(file)
        if path is None:
            names = sorted(entry.name for entry in self._path().iterdir())
            there = ", ".join(names[:10]) or "nothing"
            hint = "; vaezoo.save writes such folders" if file == CONFIG else about_pickles(names)
            raise self.error(f"no {file} in it, only {there}{hint}")
        check_sha256(path, sha256, f"{CONFIG} was saved with other weights; save the folder again")
        return path

    def error(self, text: str) -> VaezooError:
        return FileError(f"{self.name.text}: {text}")

    def _path(self) -> Path:
        folder = os.path.join(self.name.id, self.name.subfolder) if self.name.subfolder else self.name.id
        if not os.path.isdir(folder):  # which, unlike pathlib, takes any text
            kind = f"a file; write file:{folder}" if os.path.isfile(folder) else "no such folder"
            raise self.error(f"{kind}{self._sign()}")
        return Path(folder)

    def _sign(self) -> str:
        """What to do where the # is of the folder's own name."""
        own = f"{self.name.id}#{self.name.subfolder}"
        there = self.name.subfolder and os.path.isdir(own)
        return f"; that of the name {own} is local-dir:{own}#." if there else ""


@dataclass(frozen=True)
class HubFolder:
    """A repository on a Hub, or a folder in it, at one commit; `pin` is what the lock says of its name.

    `fetched` collects the paths of what was found, by the names of the files in the repository.
    """

    name: ModelName
    hub: Hub
    commit: str
    pin: Pin | None = None
    fetched: dict[str, Path] = field(default_factory=dict)

    def find(self, file: str) -> Path | None:
        path = self.hub.find(self.name.id, self._file(file), self.commit)
        return self._taken(file, path, None) if path else None

    def read(self, file: str, sha256: str | None = None) -> Path:
        return self._taken(file, self.hub.fetch(self.name.id, self._file(file), self.commit), sha256)

    def _taken(self, file: str, path: Path, sha256: str | None) -> Path:
        file = self._file(file)
        if self.pin and self.pin.sha256(file) is None:
            raise SpecError(
                f"{self.pin.location}: {self.name.text}: {file} is needed and not in this lock: remove the entry, or "
                f"name the commit, @{self.commit}"
            )
        self.fetched[file] = path
        return check_fetched(path, self.name.id, file, sha256, self.pin)

    def error(self, text: str) -> VaezooError:
        return HubError("file", f"{self.name.text}: {text}")

    def _file(self, file: str) -> str:
        return f"{self.name.subfolder}/{file}" if self.name.subfolder else file


def check_fetched(path: Path, repo: str, file: str, sha256: str | None, pin: Pin | None) -> Path:
    """The path of a file from a Hub, its content compared with what is on record and with the lock.

    Raises:
        HubError: If it is another one.
    """
    remedy = "fetch it again with force_download=True"
    try:
        check_sha256(path, sha256, remedy)
        if pin:
            check_sha256(path, pin.sha256(file), f"{remedy}, or remove the entry at {pin.location}")
    except CheckpointError as error:
        raise HubError("hash", f"{repo}: {error}") from error
    return path
