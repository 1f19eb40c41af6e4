"""Networks as YAML files."""

from pathlib import Path

from vaezoo.nn.build import build
from vaezoo.nn.schema import check_spec
from vaezoo.specs.faults import Faults
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.parse import read_tree


def read_spec(path: str | Path, name: str | None = None) -> ModelSpec:
    """The network of a YAML file, named after the file unless `name` says otherwise.

    Raises:
        FileError: If the file cannot be read.
        SpecError: If it has faults; the text lists all of them, each with its place.
    """
    return check_spec(read_tree(path), name or Path(path).stem)


def read_own_spec(path: str | Path, name: str | None = None) -> ModelSpec:
    """The network of a user's YAML file; its `expect`, which tests verify for networks of the zoo, must be true.

    Raises:
        FileError: If the file cannot be read.
        SpecError: If it has faults; the text lists all of them, each with its place.
    """
    spec, faults = read_spec(path, name), Faults()
    if spec.expect is None:
        return spec
    vae, expect = build(spec, "meta"), read_tree(path).value["expect"]
    found = {"params": sum(parameter.numel() for parameter in vae.parameters()), "downscale": vae.downscale}
    for key, value in found.items():
        expected = getattr(spec.expect, key)
        if expected not in (None, value):
            faults.add(expect.value[key].location, f"expect.{key}", f"is {expected:,}, but the network has {value:,}")
    faults.check()
    return spec
