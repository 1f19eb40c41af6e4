"""Records of weights: `configs/weights/<network>.yaml` says which tags a network has, where from, and what is known."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

from vaezoo.errors import CheckpointError, SpecError, UnknownNameError
from vaezoo.specs.catalog import canonical, files, is_name, match, natural, unknown_name
from vaezoo.specs.check import FAILED, Faults, convert, record, unknown
from vaezoo.specs.names import ModelName
from vaezoo.specs.parse import read_tree
from vaezoo.specs.tree import Location, Node
from vaezoo.weights.record_schema import WeightsRecord, check_record


class NamedWeights(NamedTuple):
    """A record with its network, tag, and the file it stands in."""

    network: str
    tag: str
    record: WeightsRecord
    path: Path

    @property
    def name(self) -> str:
        """`network.tag`."""
        return f"{self.network}.{self.tag}"


class Records(NamedTuple):
    """All records of a network, by tag, and which of them is the default; None where it has no weights."""

    default: str | None
    by_tag: dict[str, NamedWeights]


def read_records(network: str) -> Records:
    """The records of a network.

    Raises:
        SpecError: With every fault of the file.
    """
    path = files("weights").get(network)
    if path is None:
        return Records(None, {})
    tree = read_tree(path)
    if not isinstance(tree.value, dict) or "default" not in tree.value:
        raise SpecError(f"{tree.location}: expected a mapping with default: and one entry for each tag")
    faults = Faults()
    nodes = {tag: node for tag, node in tree.value.items() if tag != "default"}
    entries = {tag: _record(tag, node, tree.keys[tag], faults) for tag, node in nodes.items()}
    default = tree.value["default"]
    convert(default, Annotated[str, nodes], "default", faults)
    faults.check()
    return Records(default.value, {tag: NamedWeights(network, tag, entry, path) for tag, entry in entries.items()})


def all_records() -> Iterator[NamedWeights]:
    """The records of all networks, in natural order of these."""
    for network in files("weights"):
        yield from read_records(network).by_tag.values()


def _record(tag: str, node: Node, location: Location, faults: Faults) -> WeightsRecord:
    if not is_name(tag) or tag != canonical(tag):
        faults.add(location, tag, 'a tag is letters, digits and "_"')
    entry = record(node, WeightsRecord, tag, faults)
    if entry is not FAILED:
        check_record(entry, tag, node, faults)
    return entry


def find_record(name: ModelName) -> NamedWeights:
    """The record that a zoo name asks for: its tag, or the network's default.

    Raises:
        UnknownNameError: If the network has no weights, or no such tag; the text lists the tags.
    """
    default, tagged = read_records(name.id)
    if default is None:
        raise UnknownNameError(
            f"{name.id} has no pretrained weights yet; build it without (pretrained=False), or take one of those that "
            "`vaezoo list --pretrained` shows"
        )
    tag = name.tag or default
    if tag not in tagged:
        raise UnknownNameError(f"{name.id}: {unknown(tag, tagged, 'tag')}")
    return tagged[tag]


def check_loadable(found: NamedWeights) -> None:
    """Raise `CheckpointError` if the weights were withdrawn, or are published only as files that can run code."""
    if found.record.loadable:
        return
    tagged = read_records(found.network).by_tag.values()
    others = ", ".join(other.name for other in tagged if other.record.loadable) or "none for this network"
    raise CheckpointError(f"{found.name} {_why_not(found)} (other weights: {others})")


def _why_not(found: NamedWeights) -> str:
    weights, source = found.record, found.record.source
    if weights.removed_in:
        return f"was withdrawn in vaezoo {weights.removed_in}{f': {weights.summary}' if weights.summary else ''}"
    if weights.torchscript_only:
        return f"is published as TorchScript only ({source.location}), which runs code when it is loaded"
    return (
        f"is published as a pickle only, which can run code when it is opened: fetch {source.location}, then vaezoo "
        f"convert {Path(source.file).name} OUT.safetensors --from-pickle --layout {weights.layout} "
        f"--network {found.network}"
    )


def bundled_file(found: NamedWeights) -> Path:
    """The path of weights that travel with the package."""
    return found.path.parent / found.record.source.file


def list_pretrained(pattern: str = "*", *, license: str | None = None, layout: str | None = None) -> list[str]:
    """Names `network.tag` of all weights that can be loaded, in natural order.

    Args:
        pattern: Shell wildcards; "-" and "_" are the same.
        license: Only weights of this license, as their record spells it, in upper or lower case.
        layout: Only weights in this layout.
    """
    fitting = [t.name for t in all_records() if t.record.loadable and is_of(t.record, license, layout)]
    return match(sorted(fitting, key=natural), pattern)


def is_of(weights: WeightsRecord, license: str | None, layout: str | None) -> bool:
    """Whether weights have this license and layout; None is any."""
    return (license is None or weights.license.lower() == license.lower()) and layout in (None, weights.layout)


def find_by_sha256(sha256: str) -> NamedWeights | None:
    """The weights on record that are a file of this content, the first where several share it; None where none is."""
    return next((tagged for tagged in all_records() if tagged.record.sha256 == sha256), None)


def tags_by_statistics(network: str) -> str:
    """The tags of a network's weights that have latent statistics, for an error text: `sd, sdxl`."""
    return ", ".join(tag for tag, tagged in read_records(network).by_tag.items() if tagged.record.latent_stats)


def expand_alias(name: ModelName) -> ModelName:
    """The network and tag that a zoo name stands for, which may be an alias of weights.

    Raises:
        UnknownNameError: If there is no such network or alias.
    """
    known = files("models")
    if name.id in known:
        return name
    aliases = {
        canonical(alias): ModelName("zoo", tagged.network, tagged.tag)
        for tagged in all_records()
        for alias in tagged.record.aliases
    }
    if name.id in aliases and name.tag is None:
        return aliases[name.id]
    raise UnknownNameError(unknown_name(name.id, [*known, *aliases]))
