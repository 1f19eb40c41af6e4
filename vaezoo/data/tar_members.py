"""The photos in .tar files, and the files beside them, such as captions."""

import glob
import itertools
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vaezoo.data.photo_files import is_hidden
from vaezoo.errors import FileError
from vaezoo.io.files import opened, read_part

TEXTS = (".txt", ".json", ".cls")  # files beside a photo: caption, caption with other data, and label
MOST_SHARDS = 1_000_000
MOST_PADDING = 1 << 20  # bytes; longer than the zeros at the end of a .tar file
_BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")


@dataclass(frozen=True)
class TarMember:
    """A file in a .tar file, or in one inside it.

    Args:
        tar: Path of the outermost .tar file.
        name: Path in the .tar file.
        start: Offset in the outermost file, in bytes.
        length: Size in bytes.
        mtime: Time of its last change, in seconds since 1970.
    """

    tar: Path
    name: str
    start: int
    length: int
    mtime: float

    @property
    def stem(self) -> str:
        """The name without its suffix, which a photo and the texts beside it share."""
        return self.name.removesuffix(PurePosixPath(self.name).suffix)

    def read(self) -> bytes:
        """Read the bytes of the file."""
        return read_part(self.tar, self.start, self.length)


def tar_members(path: Path, suffixes: Sequence[str]) -> list[TarMember]:
    """List the files with some suffixes in a .tar file and in .tar files inside it, but no hidden ones, by name.

    Raises:
        FileError: If it cannot be read or is not a whole, uncompressed .tar file.
    """
    try:
        with opened(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            return sorted(_members(path, tar, tuple(suffixes)), key=lambda member: (member.name, member.start))
    except tarfile.TarError as error:
        raise FileError(f"{path}: not a whole, uncompressed .tar file ({error}); pack the photos again") from error


def _members(
    path: Path, tar: tarfile.TarFile, suffixes: tuple[str, ...], prefix: str = "", start: int = 0
) -> Iterator[TarMember]:
    for member in tar:
        name = prefix + member.name
        if not member.isfile() or is_hidden(name):
            continue
        if name.lower().endswith(".tar"):
            with tarfile.open(fileobj=tar.extractfile(member), mode="r:") as inner:
                yield from _members(path, inner, suffixes, f"{name}/", start + member.offset_data)
        elif PurePosixPath(name).suffix.lower() in suffixes:
            yield TarMember(path, name, start + member.offset_data, member.size, member.mtime)
    assert tar.fileobj is not None  # it is open
    tar.fileobj.seek(tar.offset)
    rest, at = tar.fileobj.read(MOST_PADDING), f"at byte {start + tar.offset:,}"
    if rest.strip(b"\0"):  # `tarfile` takes a damaged header for the end
        raise tarfile.ReadError(f"damaged header, or another archive appended, {at}")
    if not rest:
        raise tarfile.ReadError(f"cut off {at}, without the zeros that end it")


def matching_paths(pattern: str) -> list[Path]:
    """List the files of a pattern such as `shards/{00000..00009}.tar`, `{a,b}.tar` or `shards/*.tar`, in its order.

    Returns:
        The files; none if the text has neither braces nor `*`, `?` or `[`.

    Raises:
        FileError: If a file that braces name is missing.
    """
    texts = list(itertools.islice(_expanded(pattern), MOST_SHARDS))
    found: list[Path] = []
    for text in texts:
        if glob.has_magic(text):
            found += map(Path, sorted(glob.glob(text)))
        elif len(texts) > 1:
            if not Path(text).exists():
                raise FileError(f"{text}: no such file, and {pattern} names it; correct the braces")
            found.append(Path(text))
    return found


def _expanded(text: str) -> Iterator[str]:
    """Expand braces as bash does: `{000..010}`, with leading zeros, and `{a,b}`."""
    match = _BRACES.search(text)
    if not match:
        yield text
        return
    if match[3] is not None:
        values = match[3].split(",")
    else:
        first, last = int(match[1]), int(match[2])
        numbers = range(first, last + 1) if first <= last else range(first, last - 1, -1)
        values = [f"{number:0{len(match[1])}d}" for number in numbers]
    for value in values:
        yield from _expanded(text[: match.start()] + value + text[match.end() :])
