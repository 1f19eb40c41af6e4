"""Captions and labels of photos, from the files beside them or the columns beside their picture."""

import json
import re
from pathlib import PurePosixPath

from vaezoo.data.photos import COLUMNS, Photo
from vaezoo.errors import FileError

_INT64 = re.compile(r"-?[0-9]{1,18}")  # classes are numbered in int64


def caption_of(photo: Photo) -> str | None:
    """Return the content of the .txt file of a photo, or the caption in its .json file; `None` if it has none.

    Raises:
        FileError: If the file is not valid.
    """
    text = photo.beside(".txt")
    if text is not None:
        return _decoded(text, photo, ".txt").strip()
    data = photo.beside(".json")
    if data is None:
        return None
    try:
        found = json.loads(_decoded(data, photo, ".json"))
        known = found if isinstance(found, dict) else {}
        caption = next((known[key] for key in COLUMNS[".txt"] if isinstance(known.get(key), str)), None)
        (caption or "").encode()  # an escape such as \ud800 alone is no text
    except (ValueError, RecursionError) as error:
        raise FileError(f"{photo.location}: its .json file is damaged ({error}); correct or remove it") from error
    return caption


def label_of(photo: Photo) -> str | int | None:
    """Return the content of the .cls file or label column of a photo, or else the first folder of its name.

    A number is an integer; `None` if the photo has neither, or an empty file.

    Raises:
        FileError: If the file is not valid.
    """
    text = photo.beside(".cls")
    if text is None:
        *folders, _ = PurePosixPath(photo.name.lstrip("/")).parts  # without "./" in front, as tar writes
        return folders[0] if folders and photo.place and photo.place.column is photo.place.split is None else None
    label = _decoded(text, photo, ".cls").strip()
    return int(label) if _INT64.fullmatch(label) else label or None


def _decoded(text: bytes, photo: Photo, suffix: str) -> str:
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(f"{photo.location}: its {suffix} file is not UTF-8 ({error}); convert or remove it") from error
