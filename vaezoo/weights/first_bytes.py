"""What a file in the place of weights is, by its first bytes."""

import os
import re
from pathlib import Path

from vaezoo.errors import FileError
from vaezoo.io.files import opened

_POINTER = b"version https://git-lfs.github.com/spec/"
_PAGE = re.compile(rb"\s*<(!doctype|html|head|\?xml)", re.IGNORECASE)
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def first_bytes(path: Path) -> bytes:
    """Read the first bytes of a file.

    Raises:
        FileError: If there is no such file.
    """
    if not os.path.isfile(path):  # Path.is_file raises OSError for a name that is too long
        raise FileError(f"{path}: {f'a folder; write local-dir:{path}' if os.path.isdir(path) else 'no such file'}")
    with opened(path) as file:
        return file.read(512)


def not_safetensors(start: bytes) -> str:
    """Describe a file that is not safetensors, with the remedy.

    Args:
        start: The first bytes of the file.
    """
    if start.startswith(_PICKLE_STARTS):
        return (
            "a pickle, which can run code when opened, and vaezoo loads safetensors only; convert it with "
            "vaezoo convert IN OUT.safetensors --from-pickle"
        )
    return pointer_or_page(start) or (
        "not a whole safetensors file: it is damaged, truncated or of another format; download it again"
    )


def pointer_or_page(start: bytes) -> str | None:
    """Describe what a download left in the place of weights, with the remedy; `None` if it is neither.

    Args:
        start: The first bytes of the file.
    """
    if start.startswith(_POINTER):
        return "a Git LFS pointer in the place of the weights; run git lfs pull in its repository"
    if _PAGE.match(start):
        return (
            "a web page in the place of the weights; download the file itself, on the Hub from an address with "
            "/resolve/ and not /blob/"
        )
    return None
