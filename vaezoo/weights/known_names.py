"""Check names of models without reading, fetching or building anything, and without PyTorch."""

import os
from pathlib import Path

from vaezoo.errors import FileError, InputError
from vaezoo.specs.catalog import model_file
from vaezoo.specs.names import ModelName, parse_name
from vaezoo.weights.header import weights_files
from vaezoo.weights.records import check_loadable, expand_alias, find_record


def check_known(name: str | Path, pretrained: bool = True) -> ModelName:
    """Check that a name stands for a model, as far as that is known without a request to a Hub.

    Commands check all their names first, so that a wrong one costs no time.

    Args:
        name: A name as for `vaezoo.create`.
        pretrained: Whether it must have weights.

    Returns:
        The parsed name.

    Raises:
        UnknownNameError: If there is no such network, weights or alias.
        InputError: If the name stands for a network without weights, and `pretrained` is set.
        CheckpointError: If the weights were withdrawn or cannot be loaded.
        FileError: If a file or folder does not exist.
    """
    parsed = parse_name(name)
    if parsed.source == "zoo":
        expanded = expand_alias(parsed)
        model_file(expanded.id)
        if pretrained or expanded.tag:
            weights = find_record(expanded)
            if pretrained:
                check_loadable(weights)
    elif parsed.source == "yaml":
        _check_exists(Path(parsed.id))
        if pretrained:
            raise InputError(f"{parsed.id} is a network without weights; name a model with weights, or train it first")
    elif parsed.source == "file":
        for file in weights_files(parsed.id):
            _check_exists(file)
    elif parsed.source == "local-dir" and not os.path.exists(os.path.join(parsed.id, parsed.subfolder or "")):
        raise FileError(f"{parsed.text}: no such folder")
    return parsed


def is_weights_file(text: str) -> bool:
    """Return whether text stands for weights files and not for a name."""
    return all(file.suffix in (".safetensors", ".json") or os.path.isfile(file) for file in weights_files(text))


def _check_exists(path: Path) -> None:
    if not os.path.exists(path):
        raise FileError(f"{path}: cannot be read (no such file)")
