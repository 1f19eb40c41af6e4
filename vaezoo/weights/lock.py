"""The lock file: the commit and content that a name stood for when it was first downloaded, and stands for since."""

import json
import os
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from vaezoo.errors import FileError, SpecError
from vaezoo.io.files import sha256_of, write_text
from vaezoo.specs.check import FAILED, Faults, record
from vaezoo.specs.parse import parse_yaml, read_tree
from vaezoo.specs.tree import Location, Node
from vaezoo.weights.record_schema import COMMIT, SHA256

VARIABLE, DEFAULT = "VAEZOO_LOCK", "vaezoo.lock"
_HEAD = "# Written by `vaezoo download`, and obeyed since. An entry that is removed is written anew by the next one.\n"


@dataclass(frozen=True, kw_only=True)
class LockedFile:
    """One file of a repository and its content."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Pin:
    """What a name stands for: `files` of the repository `repo` at one commit. `location` is where the lock says so."""

    location: Location = field(compare=False, default=Location(DEFAULT))
    _: KW_ONLY
    repo: str
    commit: str
    files: tuple[LockedFile, ...]

    def sha256(self, file: str) -> str | None:
        """The content of a file; None where the pin does not name it."""
        return next((locked.sha256 for locked in self.files if locked.file == file), None)


class Fetched(NamedTuple):
    """What was downloaded under a name that nothing pins yet: local paths by the names of the files there."""

    name: str
    repo: str
    commit: str
    files: Mapping[str, Path]


def lock_path() -> Path:
    """The lock file of this process: the one that `VAEZOO_LOCK` names, else `vaezoo.lock` in the working directory."""
    return Path(os.environ.get(VARIABLE) or DEFAULT)


def find_pin(
    path: str | Path | None, name: str, repo: str, revision: str | None, files: Mapping[str, str | None]
) -> Pin | None:
    """What the lock says of a name; None where it says nothing.

    Args:
        path: The lock file, which may be missing; None is `lock_path()`, which must be there if `VAEZOO_LOCK` names it.
        name: `network.tag`, or a `hf-hub:` name.
        repo: Its repository.
        revision: The commit that its record says; a branch or tag, which may move, is no contradiction.
        files: The files that are needed, and their sha256 where it is on record.

    Raises:
        SpecError: If the lock has faults, or contradicts what is on record.
        FileError: If the lock cannot be read.
    """
    if path is None and os.environ.get(VARIABLE) and not lock_path().exists():
        raise FileError(f"{lock_path()}: {VARIABLE} names it, but it is missing: `vaezoo download {name}` writes it")
    pin = read_lock(lock_path() if path is None else path).get(name)
    if pin is None:
        return None
    said = [("repo", pin.repo, repo)]
    if revision is not None and COMMIT.fullmatch(revision):
        said.append(("commit", pin.commit, revision))
    for file, known in files.items():
        locked = pin.sha256(file)
        said.append((f"sha256 of {file}", locked or "absent", known or locked or "needed"))
    for what, locked, known in said:
        if locked != known:
            raise SpecError(
                f"{pin.location}: {name}: {what} is {locked} in this lock and {known} on record: remove the entry to "
                f"load what is on record, or name another lock ({VARIABLE})"
            )
    return pin


def read_lock(path: str | Path) -> dict[str, Pin]:
    """Name to pin; none where there is no such file.

    Raises:
        SpecError: With every fault of the file and its location.
        FileError: If it cannot be read.
    """
    return _parsed(read_tree(path)) if os.path.lexists(path) else {}


def add_pin(path: str | Path, fetched: Fetched) -> Pin:
    """Write into a lock file that a name stands for what was downloaded; gives the new entry.

    Raises:
        SpecError: If the file that is there has faults.
        FileError: If it cannot be written.
    """
    files = (LockedFile(file=file, sha256=sha256_of(local)) for file, local in fetched.files.items())
    pin = Pin(repo=fetched.repo, commit=fetched.commit, files=tuple(files))
    text = _text({**read_lock(path), fetched.name: pin})
    _parsed(parse_yaml(text, str(path)))  # what could not be read again is not written
    try:
        write_text(path, text)
    except FileError as error:
        raise FileError(f"{error}; --lock or {VARIABLE} names another file") from error
    return pin


def _parsed(tree: Node) -> dict[str, Pin]:
    if not isinstance(tree.value, dict):
        raise SpecError(f"{tree.location}: expected a mapping of names to repo, commit and files")
    faults = Faults()
    pins = {name: record(node, Pin, name, faults) for name, node in tree.value.items()}
    for name, pin in pins.items():
        if pin is not FAILED:
            _check(name, pin, tree.value[name], faults)
    faults.check()
    return {name: replace(pin, location=tree.keys[name]) for name, pin in pins.items()}


def _check(name: str, pin: Pin, node: Node, faults: Faults) -> None:
    if not COMMIT.fullmatch(pin.commit):
        faults.add(node.value["commit"].location, f"{name}.commit", "expected a commit of 40 hexadecimal digits")
    for index, locked in enumerate(pin.files):
        location = node.value["files"].value[index].location
        if not SHA256.fullmatch(locked.sha256):
            faults.add(location, f"{name}.files[{index}].sha256", "expected 64 hexadecimal digits")


def _text(pins: Mapping[str, Pin]) -> str:
    """The pins as YAML, in the order of their names; every value in quotes, since a hash can look like a number."""
    lines, quoted = [_HEAD], partial(json.dumps, ensure_ascii=False)
    for name, pin in sorted(pins.items()):
        lines.append(f"{quoted(name)}:\n  repo: {quoted(pin.repo)}\n  commit: {quoted(pin.commit)}\n  files:\n")
        lines += [f"    - {{file: {quoted(f.file)}, sha256: {quoted(f.sha256)}}}\n" for f in pin.files]
    return "".join(lines)
