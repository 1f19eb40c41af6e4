"""The lock file: the commit and file hashes that a name stood for when it was first downloaded."""

import json
import os
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from vaezoo.errors import FileError, SpecError
from vaezoo.io.files import sha256_of, write_text
from vaezoo.io.folder_lock import write_lock
from vaezoo.specs.check import check
from vaezoo.specs.parse import parse_yaml, read_tree
from vaezoo.specs.tree import Location, Node
from vaezoo.weights.record_schema import COMMIT, Commit, Sha256

VARIABLE, DEFAULT = "VAEZOO_LOCK", "vaezoo.lock"
_HEAD = "# Written by `vaezoo download` and followed since. Remove an entry to have it written again.\n"


@dataclass(frozen=True, kw_only=True)
class LockedFile:
    """A file of a repository and its hash."""

    file: str
    sha256: Sha256


@dataclass(frozen=True)
class Pin:
    """What a name stands for.

    Args:
        location: Location of the entry in the lock file.
        repo: Repository on the Hub.
        commit: Commit of the repository.
        files: Files of the repository at that commit.
    """

    location: Location = field(compare=False, default=Location(DEFAULT))
    _: KW_ONLY
    repo: str
    commit: Commit
    files: tuple[LockedFile, ...]

    def sha256(self, file: str) -> str | None:
        """Return the hash of a file, or `None` if the pin does not list it."""
        return next((locked.sha256 for locked in self.files if locked.file == file), None)


class Fetched(NamedTuple):
    """Files that were downloaded under a name that is not pinned yet.

    Args:
        name: The name.
        repo: Repository on the Hub.
        commit: Commit of the repository.
        files: Local path of each file, by its name in the repository.
    """

    name: str
    repo: str
    commit: str
    files: Mapping[str, Path]


def lock_path() -> Path:
    """Return the lock file of this process: the value of `VAEZOO_LOCK`, or `vaezoo.lock` in the working directory."""
    return Path(os.path.expanduser(os.environ.get(VARIABLE) or DEFAULT))


def find_pin(
    path: str | Path | None, name: str, repo: str, revision: str | None, files: Mapping[str, str | None]
) -> Pin | None:
    """Look up a name in a lock file and compare the entry with the weights record.

    Args:
        path: The lock file, which may be missing. `None` means `lock_path()`, which must exist if `VAEZOO_LOCK` is set.
        name: `network.tag`, or a `hf-hub:` name.
        repo: Repository of the weights.
        revision: Revision of the weights. A branch or tag may move, so only a commit is compared.
        files: The files that are needed, each with its hash if it is known.

    Returns:
        The entry, or `None` if the lock has none for the name.

    Raises:
        SpecError: If the lock has faults or contradicts the record.
        FileError: If the lock cannot be read.
    """
    if path is None and os.environ.get(VARIABLE) and not lock_path().exists():
        raise FileError(f"{lock_path()}: missing, but {VARIABLE} names it; `vaezoo download {name}` writes it")
    pin = read_lock(lock_path() if path is None else path).get(name)
    if pin is None:
        return None
    compared = [("repo", pin.repo, repo)]
    if revision is not None and COMMIT.fullmatch(revision):
        compared.append(("commit", pin.commit, revision))
    for file, sha256 in files.items():
        locked = pin.sha256(file)
        compared.append((f"sha256 of {file}", locked or "absent", sha256 or locked or "needed"))
    for what, locked, known in compared:
        if locked != known:
            raise SpecError(
                f"{pin.location}: {name}: {what} is {locked} in this lock and {known} on record: remove the entry to "
                f"load what is on record, or name another lock ({VARIABLE})"
            )
    return pin


def read_lock(path: str | Path) -> dict[str, Pin]:
    """Read the entries of a lock file by name; a missing file has none.

    Raises:
        SpecError: With every fault of the file and its location.
        FileError: If the file cannot be read.
    """
    return _check(read_tree(path)) if os.path.lexists(path) else {}


def add_pin(path: str | Path, fetched: Fetched) -> Pin:
    """Add an entry for downloaded files to a lock file.

    Returns:
        The new entry.

    Raises:
        SpecError: If the existing file has faults.
        FileError: If the file cannot be written.
    """
    files = (LockedFile(file=file, sha256=sha256_of(local)) for file, local in fetched.files.items())
    pin = Pin(repo=fetched.repo, commit=fetched.commit, files=tuple(files))
    folder = Path(os.path.realpath(path)).parent
    try:
        if not folder.is_dir():
            raise FileError(f"{path}: cannot be written (there is no folder {folder})")
        with write_lock(folder):  # another process may add an entry
            text = _text({**read_lock(path), fetched.name: pin})
            _check(parse_yaml(text, str(path)))  # a file that could not be read again is not written
            write_text(path, text)
    except FileError as error:
        raise FileError(f"{error}; --lock or {VARIABLE} names another file") from error
    return pin


def _check(tree: Node) -> dict[str, Pin]:
    return {name: replace(pin, location=tree.keys[name]) for name, pin in check(tree, dict[str, Pin]).items()}


def _text(pins: Mapping[str, Pin]) -> str:
    """The pins as YAML, sorted by name; every value is in quotes, because a hash can look like a number."""
    lines, quoted = [_HEAD], partial(json.dumps, ensure_ascii=False)
    for name, pin in sorted(pins.items()):
        lines.append(f"{quoted(name)}:\n  repo: {quoted(pin.repo)}\n  commit: {quoted(pin.commit)}\n  files:\n")
        lines += [f"    - {{file: {quoted(f.file)}, sha256: {quoted(f.sha256)}}}\n" for f in pin.files]
    return "".join(lines)
