"""The `config.json` of a published folder, beside `model.safetensors` and the model card `README.md`."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from vaezoo.errors import SpecError
from vaezoo.formats.diffusers.classes import CLASS_KEY, CLASSES, DiffusersNetwork, spec_from_config
from vaezoo.nn.own_blocks import BlockOrigin, import_missing, is_known, is_own, origin_of, origins_of
from vaezoo.nn.schema import check_spec
from vaezoo.specs.check import check
from vaezoo.specs.extensions import zoo_packages
from vaezoo.specs.marks import Between
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.parse import read_tree
from vaezoo.specs.stats import LatentStats
from vaezoo.specs.tree import Node
from vaezoo.version import __version__
from vaezoo.weights.record_schema import Sha256

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FORMAT = 1
PICKLES = (".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """The weights beside a `config.json`."""

    file: Literal["model.safetensors"]
    sha256: Sha256


@dataclass(frozen=True, kw_only=True)
class PublishedConfig:
    """The keys of a `config.json`.

    Args:
        library_name: Always "vaezoo".
        format: Version of this format.
        vaezoo_version: Version of vaezoo that wrote the file.
        spec: The network, not checked yet.
        spec_hash: Hash of the network, which protects it against edits.
        weights: The weights file and its hash.
        network: Name of the network.
        latent_stats: Statistics of the latents.
        training_step: Step of the training run that the folder was published from; `None` if it is no run.
        blocks: The blocks of the network that are not of vaezoo. They are never imported because of this file.
    """

    library_name: str
    format: Annotated[int, Between(1, FORMAT)]
    vaezoo_version: str
    spec: Node
    spec_hash: str
    weights: WeightsFile
    network: str | None = None
    latent_stats: LatentStats | None = None
    training_step: Annotated[int, Between(0, 1_000_000_000)] | None = None
    blocks: dict[str, BlockOrigin] | None = None


class PublishedNetwork(NamedTuple):
    """The checked content of a `config.json`."""

    spec: ModelSpec
    config: PublishedConfig


def config_text(spec: ModelSpec, stats: LatentStats | None, sha256: str, training_step: int | None = None) -> str:
    """Return the text of a `config.json`.

    Args:
        spec: The network.
        stats: Statistics of its latents.
        sha256: Hash of `model.safetensors`.
        training_step: Step of the training run that the weights are from; `None` leaves it out.
    """
    data: dict[str, Any] = {
        "library_name": "vaezoo",
        "format": FORMAT,
        "vaezoo_version": __version__,
        "network": spec.name,
        "spec_hash": spec.hash,
        "spec": {"summary": spec.summary, **spec.to_dict()},
        "weights": {"file": WEIGHTS, "sha256": sha256},
        "latent_stats": stats.to_dict() if stats else None,
        "training_step": training_step,
        "blocks": {name: origin.to_dict() for name, origin in origins_of(spec).items()} or None,
    }
    return json.dumps({k: v for k, v in data.items() if v is not None}, indent=2, ensure_ascii=False) + "\n"


def read_network(path: str | Path) -> PublishedNetwork | DiffusersNetwork:
    """Read and check a `config.json` of vaezoo or diffusers.

    Raises:
        FileError: If the file cannot be read.
        SpecError: If neither library wrote the file, a newer vaezoo wrote it, or it has faults; the text lists all.
    """
    tree = read_tree(path)
    keys = tree.value if isinstance(tree.value, dict) else {}
    return spec_from_config(tree) if CLASS_KEY in keys and "library_name" not in keys else _check_config(tree)


def _check_config(tree: Node) -> PublishedNetwork:
    _check_origin(tree)
    config = check(tree, PublishedConfig)
    _check_blocks(config.blocks or {}, str(tree.location))
    spec = check_spec(config.spec, config.network)
    if spec.hash != config.spec_hash:
        raise SpecError(
            f"{tree.location}: spec_hash is {config.spec_hash[:12]}, but the spec beside it hashes to "
            f"{spec.hash[:12]}; the file was edited: undo that, or build the network you want with overrides="
        )
    if config.latent_stats:
        config.latent_stats.check(spec.latent.channels, str(tree.location))
    return PublishedNetwork(spec, config)


def _check_blocks(blocks: Mapping[str, BlockOrigin], location: str) -> None:
    """Raise `SpecError` if blocks from outside vaezoo are missing here, or come from elsewhere than those of a file."""
    import_missing(blocks)
    for name, source in blocks.items():
        if not is_known(name):
            raise SpecError(
                f"{location}: the network has the block {name} of {source}, which is missing: {_way(source)}"
            )
        found = origin_of(name) if is_own(name) else BlockOrigin(module="vaezoo", package="vaezoo")
        if (found.package or found.module) != (source.package or source.module):
            raise SpecError(f"{location}: the network has the block {name} of {source}, but {name} is of {found} here")


def _way(source: BlockOrigin) -> str:
    if source.module == "__main__":
        return "its author defined it in a script; ask for it, and pass it to vaezoo.register_block"
    if source.package is None:
        return f"import {source.module} first (commands: --import {source.module})"
    if any(package.package == source.package for package in zoo_packages()):
        return f"the installed {source.package} does not register it; install the version that does"
    return f"pip install {source.package}, if you trust its author"


def _check_origin(tree: Node) -> None:
    data = tree.plain() if isinstance(tree.value, dict) else {}
    if data.get("library_name") != "vaezoo":
        found = next((f" but {key} {data[key]!r:.60}" for key in (CLASS_KEY, "architecture") if key in data), "")
        raise SpecError(
            f"{tree.location}: not written by vaezoo (no library_name vaezoo in it{found}), and not of one of these "
            f"classes of diffusers: {', '.join(CLASSES)} (docs/hub.md)"
        )
    version = data.get("format")
    if isinstance(version, int) and version > FORMAT:
        writer = f"{data.get('vaezoo_version', 'unknown')!s:.60}"
        raise SpecError(
            f"{tree.location}: written by a newer vaezoo ({writer}, format {version}; this one, {__version__}, reads "
            f"{FORMAT}): pip install --upgrade vaezoo"
        )


def about_pickles(names: Iterable[str]) -> str:
    """Return the remedy for a folder with pickles, for messages; empty if there are none."""
    pickle = next((name for name in names if name.endswith(PICKLES)), None)
    if pickle is None:
        return ""
    remedy = "vaezoo convert --from-pickle makes a safetensors file of one you trust"
    return f"; {pickle} is a pickle, which vaezoo does not open: {remedy}"
