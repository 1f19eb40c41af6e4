"""Networks as YAML files."""

from pathlib import Path

from vaezoo.nn.schema import check_spec
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.parse import read_tree


def read_spec(path: str | Path, name: str | None = None) -> ModelSpec:
    """The network of a YAML file, named after the file unless `name` says otherwise.

    Raises:
        FileError: If the file cannot be read.
        SpecError: If it has faults; the text lists all of them, each with its place.
    """
    return check_spec(read_tree(path), name or Path(path).stem)
