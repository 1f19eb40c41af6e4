"""Records of weights: `configs/weights/<network>.yaml` says which tags a network has, where from, and what is known."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

from vaezoo.errors import CheckpointError, SpecError, UnknownNameError
from vaezoo.specs.catalog import NAME_RULE, canonical, files, is_name, match, natural, unknown_name
from vaezoo.specs.check import FAILED, Faults, convert, record, unknown
from vaezoo.specs.names import Name
from vaezoo.specs.stats import LatentStats
from vaezoo.specs.tree import Node, Place, read_tree, short
from vaezoo.weights.layouts import LAYOUTS

_SHA256, _COMMIT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
_BUNDLED = re.compile(r"\w[\w.-]*\.safetensors", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a file is: `file` beside the record, or `file` of the repository `hub`, at the commit `revision`."""

    file: str
    hub: str | None = None
    revision: str | None = None


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Quality by one protocol (`docs/evaluation.md`): PSNR in dB, mean over the images of `data`."""

    protocol: str
    data: str
    images: int
    psnr: float


@dataclass(frozen=True, kw_only=True)
class WeightsRecord:
    """One set of weights. `verified: false` marks weights whose hash or commit nobody has checked."""

    source: Source
    layout: Annotated[str, LAYOUTS]
    license: str
    summary: str = ""
    sha256: str | None = None
    verified: bool = True
    trained_on: str | None = None
    recipe: str | None = None
    latent_stats: LatentStats | None = None
    metrics: Metrics | None = None
    aliases: tuple[str, ...] = ()
    removed_in: str | None = None
    pickle_only: bool = False

    @property
    def loadable(self) -> bool:
        """Whether vaezoo can load them: neither withdrawn nor a pickle."""
        return not self.removed_in and not self.pickle_only


class Tagged(NamedTuple):
    """A record with its network, tag, and the file it stands in."""

    network: str
    tag: str
    record: WeightsRecord
    path: Path

    @property
    def name(self) -> str:
        """`network.tag`."""
        return f"{self.network}.{self.tag}"


def read_records(network: str) -> tuple[str | None, dict[str, Tagged]]:
    """The default tag of a network (None where it has no weights) and its records by tag.

    Raises:
        SpecError: With every fault of the file.
    """
    path = files("weights").get(network)
    if path is None:
        return None, {}
    tree = read_tree(path)
    if not isinstance(tree.value, dict) or "default" not in tree.value:
        raise SpecError(f"{tree.place}: expected a mapping with default: and one entry for each tag")
    faults = Faults()
    nodes = {tag: node for tag, node in tree.value.items() if tag != "default"}
    entries = {tag: _record(tag, node, tree.keys[tag], faults) for tag, node in nodes.items()}
    default = tree.value["default"]
    convert(default, Annotated[str, nodes], "default", faults)
    faults.check()
    return default.value, {tag: Tagged(network, tag, entry, path) for tag, entry in entries.items()}


def _record(tag: str, node: Node, place: Place, faults: Faults) -> WeightsRecord:
    if not is_name(tag) or tag != canonical(tag):
        faults.add(place, tag, 'a tag is letters, digits and "_"')
    entry = record(node, WeightsRecord, tag, faults)
    if entry is not FAILED:
        _check_source(entry, tag, node, faults)
    return entry


def _check_source(entry: WeightsRecord, tag: str, node: Node, faults: Faults) -> None:
    source, at = entry.source, node.value["source"].place
    if source.hub is None and not _BUNDLED.fullmatch(source.file):
        faults.add(at, f"{tag}.source.file", "weights without a hub are a .safetensors file beside their record")
    if source.hub is None and (source.revision or entry.pickle_only):
        faults.add(at, f"{tag}.source", "a revision, or a pickle, is of a repository: missing hub")
    if source.revision is not None and not _COMMIT.fullmatch(source.revision):
        faults.add(at, f"{tag}.source.revision", "expected a commit of 40 hexadecimal digits")
    if entry.sha256 is not None and not _SHA256.fullmatch(entry.sha256):
        faults.add(node.value["sha256"].place, f"{tag}.sha256", "expected 64 hexadecimal digits")
    if entry.verified and (entry.sha256 is None or (source.hub and source.revision is None)):
        faults.add(at, tag, "needs sha256, and with a hub revision; where nobody has checked them, say verified: false")
    for alias in entry.aliases:
        if not is_name(alias):
            faults.add(
                node.value["aliases"].place, f"{tag}.aliases", f"{short(alias)} is no name; a name is {NAME_RULE}"
            )


def find_record(name: Name) -> Tagged:
    """The record that a zoo name asks for: its tag, or the network's default.

    Raises:
        UnknownNameError: If the network has no weights, or no such tag; the text lists the tags.
    """
    default, tagged = read_records(name.id)
    if default is None:
        raise UnknownNameError(
            f"{name.id} has no pretrained weights yet; build it without (pretrained=False), or take one of "
            f"{', '.join(list_pretrained()) or 'none'}"
        )
    tag = name.tag or default
    if tag not in tagged:
        raise UnknownNameError(f"{name.id}: {unknown(tag, tagged, 'tag')}")
    return tagged[tag]


def check_loadable(found: Tagged) -> None:
    """Raise `CheckpointError` if the weights were withdrawn, or are published as a pickle only."""
    if not found.record.loadable:
        raise CheckpointError(_why_not(found))


def _why_not(found: Tagged) -> str:
    record, source, tagged = found.record, found.record.source, read_records(found.network)[1]
    others = ", ".join(other.name for other in tagged.values() if other.record.loadable) or "none for this network"
    if record.removed_in:
        why = f": {record.summary}" if record.summary else ""
        return f"{found.name} was withdrawn in vaezoo {record.removed_in}{why} (other weights: {others})"
    return (
        f"{found.name} is published as a pickle only, which can run code when it is opened: make a safetensors file of "
        f"{source.file} of {source.hub} where that does no harm (docs/hub.md, 'Pickles'), then vaezoo convert "
        f"FILE.safetensors OUT.safetensors --layout {record.layout} --network {found.network} (other weights: {others})"
    )


def bundled_file(found: Tagged) -> Path:
    """The path of weights that travel with the package."""
    return found.path.parent / found.record.source.file


def list_pretrained(pattern: str = "*") -> list[str]:
    """Names `network.tag` of all weights that can be loaded, in natural order."""
    names = []
    for network in files("weights"):
        _, tagged = read_records(network)
        names += [t.name for t in tagged.values() if t.record.loadable]
    return match(sorted(names, key=natural), pattern)


def expand_alias(name: Name) -> Name:
    """The network and tag that a zoo name stands for, which may be an alias of weights.

    Raises:
        UnknownNameError: If there is no such network or alias.
    """
    known = files("models")
    if name.id in known:
        return name
    aliases = {}
    for network in files("weights"):
        for tag, tagged in read_records(network)[1].items():
            aliases.update({canonical(alias): Name("zoo", network, tag) for alias in tagged.record.aliases})
    if name.id in aliases and name.tag is None:
        return aliases[name.id]
    raise UnknownNameError(unknown_name(name.id, [*known, *aliases]))
