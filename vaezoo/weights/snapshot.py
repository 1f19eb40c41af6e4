"""Reading a folder to which a model may be saved at the same time: the old model or the new one, never a mixture.

`vaezoo.save` replaces `config.json` first, while the new weights have a name with their SHA-256, and then renames them.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vaezoo.errors import FileError, VaezooError
from vaezoo.specs.names import ModelName
from vaezoo.weights.config_json import CONFIG, WEIGHTS

T = TypeVar("T")
_TRIES = 50  # reading takes less time than saving, so few are needed


def pending_name(sha256: str) -> str:
    """The name of new weights in the folder until they are renamed to `model.safetensors`."""
    return f".model-{sha256}.safetensors"


def read_settled(name: ModelName, read: Callable[[], T]) -> T:
    """Call `read`, and again as long as a model was saved to the folder `name` meanwhile; other names are read once.

    Raises:
        FileError: If the folder never stayed the same.
    """
    if name.source != "local-dir":
        return read()
    folder = os.path.join(name.id, name.subfolder or "")
    for _ in range(_TRIES):
        before = _state(folder)
        try:
            result = read()
        except VaezooError:
            if _state(folder) == before:
                raise
        else:
            if _state(folder) == before:
                return result
    raise FileError(f"{name.text}: saved to again during each of {_TRIES} attempts to read it; read it after the saves")


def _state(folder: str) -> list[tuple[int, int, int] | None]:
    """What changes if a file of the folder is replaced."""
    return [_identity(os.path.join(folder, file)) for file in (CONFIG, WEIGHTS)]


def _identity(path: str | Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # missing, or no path at all
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
