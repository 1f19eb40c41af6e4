"""Read weights records: `configs/weights/<network>.yaml` has one record for each tag of a network."""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, NamedTuple

from vaezoo.errors import CheckpointError, UnknownNameError
from vaezoo.io.files import read_bytes
from vaezoo.specs.catalog import canonical, files, is_name, match, natural, unknown_name
from vaezoo.specs.check import REQUIRED, Field, check_keys
from vaezoo.specs.faults import Faults, unknown
from vaezoo.specs.names import ModelName
from vaezoo.specs.parse import MAX_BYTES, parse_content
from vaezoo.weights.record_schema import WeightsRecord

_ALIASES = re.compile(rb"aliases:\s*\[([^]]*)\]")  # for suggestions


class NamedWeights(NamedTuple):
    """One set of weights.

    Args:
        network: Name of the network.
        tag: Name of the weights among those of the network.
        record: The facts about them.
        path: The file that has the record.
    """

    network: str
    tag: str
    record: WeightsRecord
    path: Path

    @property
    def name(self) -> str:
        """The full name, `network.tag`."""
        return f"{self.network}.{self.tag}"


class Records(NamedTuple):
    """The weights of a network by tag, and the default tag, which is `None` for a network without weights."""

    default: str | None
    by_tag: dict[str, NamedWeights]


def read_records(network: str) -> Records:
    """Read the records of a network.

    Raises:
        SpecError: With every fault of the file and its location.
    """
    path = files("weights").get(network)
    return _read(network, path) if path else Records(None, {})


def _read(network: str, path: Path) -> Records:
    return _parse(read_bytes(path, MAX_BYTES), network, path)


@lru_cache(maxsize=64)  # all records are searched for the hash of a file and for an alias
def _parse(content: bytes, network: str, path: Path) -> Records:
    tree, faults = parse_content(content, str(path)), Faults()
    tags = [key for key in tree.value if key != "default"] if isinstance(tree.value, dict) else ["<tag>"]
    for tag in tags:
        if isinstance(tree.value, dict) and (not is_name(tag) or tag != canonical(tag)):
            faults.add(tree.keys[tag], tag, 'a tag consists of letters, digits and "_"')
    keys = {"default": Field(Annotated[str, dict.fromkeys(tags)], REQUIRED)}
    keys |= {tag: Field(WeightsRecord, REQUIRED) for tag in tags}
    values = check_keys(tree, keys, "weights", "", faults)
    faults.check()
    return Records(values["default"], {tag: NamedWeights(network, tag, values[tag], path) for tag in tags})


def all_records() -> Iterator[NamedWeights]:
    """Iterate over the weights of all networks, in natural order of the networks."""
    for network, path in files("weights").items():
        yield from _read(network, path).by_tag.values()


def find_record(name: ModelName) -> NamedWeights:
    """Find the weights that a name stands for: those of its tag, or the default ones of its network.

    Raises:
        UnknownNameError: If the network has no weights or no such tag; the text lists the tags.
    """
    default, by_tag = read_records(name.id)
    if default is None:
        raise UnknownNameError(
            f"{name.id} has no pretrained weights; build it with pretrained=False, or choose one of the networks that "
            "`vaezoo list --pretrained` shows"
        )
    tag = name.tag or default
    if tag not in by_tag:
        raise UnknownNameError(f"{name.id}: {unknown(tag, by_tag, 'tag')}")
    return by_tag[tag]


def check_loadable(weights: NamedWeights) -> None:
    """Raise `CheckpointError` if weights were withdrawn, or are published only as files that can run code."""
    if weights.record.loadable:
        return
    siblings = read_records(weights.network).by_tag.values()
    others = ", ".join(other.name for other in siblings if other.record.loadable) or "none for this network"
    raise CheckpointError(f"{weights.name} {_why_not(weights)} (other weights: {others})")


def _why_not(weights: NamedWeights) -> str:
    record, source = weights.record, weights.record.source
    if record.removed_in:
        return f"was withdrawn in vaezoo {record.removed_in}{f': {record.summary}' if record.summary else ''}"
    if record.torchscript_only:
        return f"is published as TorchScript only ({source.description}), which runs code when it is loaded"
    return (
        f"is published as a pickle only, which can run code when it is opened: download {source.description}, then "
        f"vaezoo convert {Path(source.file).name} OUT.safetensors --from-pickle --layout {record.layout} "
        f"--network {weights.network}"
    )


def bundled_file(weights: NamedWeights) -> Path:
    """Return the path of weights that are installed with the package."""
    return weights.path.parent / weights.record.source.file


def list_pretrained(pattern: str = "*", *, license: str | None = None, layout: str | None = None) -> list[str]:
    """List the names `network.tag` of all weights that can be loaded, in natural order.

    Args:
        pattern: Pattern with shell wildcards; "-" and "_" are the same.
        license: License as in the weights' record, in upper or lower case; `None` means any.
        layout: Layout of the file; `None` means any.

    Raises:
        InputError: If the pattern is not text.

    Examples:
        >>> import vaezoo
        >>> vaezoo.list_pretrained("vae_f8_z4_micro*")
        ['vae_f8_z4_micro.photos_v1']
    """
    known = (weights for weights in all_records() if weights.record.loadable)
    return match(sorted((w.name for w in known if is_of(w.record, license, layout)), key=natural), pattern)


def is_of(record: WeightsRecord, license: str | None, layout: str | None) -> bool:
    """Return whether weights have this license and layout; `None` means any."""
    return (license is None or record.license.lower() == license.lower()) and layout in (None, record.layout)


def find_by_sha256(sha256: str) -> NamedWeights | None:
    """Return the first weights whose file has this hash, or `None`."""
    return next((weights for weights in all_records() if weights.record.sha256 == sha256), None)


def tags_by_statistics(network: str) -> str:
    """Return the tags of a network's weights that have latent statistics, for messages: `sd, sdxl`."""
    return ", ".join(tag for tag, weights in read_records(network).by_tag.items() if weights.record.latent_stats)


def expand_alias(name: ModelName) -> ModelName:
    """Replace an alias of weights by its network and tag; other names are returned as they are.

    Raises:
        UnknownNameError: If there is no such network or alias.
    """
    known = files("models")
    if name.id in known:
        return name
    aliases: list[str] = []
    for network, path in files("weights").items():  # only files that can have the alias are parsed, which takes long
        content = read_bytes(path, MAX_BYTES)
        found = [alias for words in _ALIASES.findall(content) for alias in words.decode(errors="replace").split(",")]
        aliases += [canonical(alias.strip()) for alias in found]
        if name.tag is None and name.id.encode() in content.replace(b"-", b"_"):
            for weights in _parse(content, network, path).by_tag.values():
                if name.id in map(canonical, weights.record.aliases):
                    return ModelName("zoo", network, weights.tag)
    raise UnknownNameError(unknown_name(name.id, [*known, *aliases]))
