"""Weights in several safetensors files, as transformers and diffusers write them with `*.safetensors.index.json`."""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from vaezoo.errors import CheckpointError
from vaezoo.io.files import read_bytes
from vaezoo.weights.first_bytes import first_bytes, pointer_or_page
from vaezoo.weights.header_diff import shown

_LARGEST = 1 << 25  # bytes; 100,000 tensors take a third of it
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}\.safetensors")
_REMEDY = "download the folder again, or save the model again in one file"


def is_index(path: Path) -> bool:
    """Whether a path is that of an index, by its name; variants are named `*.index.fp16.json`."""
    return path.suffix == ".json" and ".index." in path.name


def read_index(path: Path) -> dict[str, str]:
    """Read the index of weights in several files: the name of each tensor, and the file beside the index that has it.

    Raises:
        FileError: If the index is missing or cannot be read.
        CheckpointError: If it is damaged, has a tensor twice, or names files outside of its folder.
    """
    start = first_bytes(path)
    try:
        data = json.loads(read_bytes(path, _LARGEST), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        problem = pointer_or_page(start) or f"not a valid index of weights ({error}); {_REMEDY}"
        raise CheckpointError(f"{path}: {problem}") from error
    places = data.get("weight_map") if isinstance(data, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(file, str) for file in places.values()):
        raise CheckpointError(
            f"{path}: not an index of weights, which lists tensors and files as weight_map; {_REMEDY}"
        )
    for file in places.values():
        if not (re.fullmatch(r"[^/\\]+\.\w+", file) and file.isprintable()):  # no path, and neither "." nor ".."
            raise CheckpointError(f"{path}: names {shown(file)}, which is no file in its folder; {_REMEDY}")
    return places


def _distinct(items: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(items)
    if len(result) < len(items):
        raise ValueError("a name is in it twice")
    return result


def check_shards(path: Path, places: Mapping[str, str], names: Mapping[str, Collection[str]]) -> None:
    """Compare the tensors in the files of an index with those it lists.

    Args:
        path: The index, for messages.
        places: Its content, from `read_index`.
        names: The tensors in each file.

    Raises:
        CheckpointError: If a tensor is missing, in another file, in two, or not listed.
    """
    for file, held in names.items():
        for name in held:
            if places.get(name) != file:
                listed = f"lists it in {shown(places[name])}" if name in places else "does not list it"
                raise CheckpointError(
                    f"{path}: {shown(file)} has the tensor {shown(name)}, but the index {listed}; {_REMEDY}"
                )
    for name, file in places.items():
        if name not in names[file]:
            raise CheckpointError(
                f"{path}: the tensor {shown(name)} is not in {shown(file)}, where the index lists it; {_REMEDY}"
            )


def index_remark(files: Collection[Path]) -> str:
    """Return a remark for messages if a file is one of several with the weights of a model; empty if it is not."""
    match = _SHARD.fullmatch(next(iter(files)).name) if len(files) == 1 else None
    return f"; it is one of several files: name their index, {match[1]}.safetensors.index.json" if match else ""
