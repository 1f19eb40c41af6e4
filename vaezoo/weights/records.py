"""Records of weights: `configs/weights/<network>.yaml` says which tags a network has, where from, and what is known."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vaezoo.errors import CheckpointError, SpecError, UnknownNameError
from vaezoo.specs.catalog import canonical, data_dir, files, match, natural, unknown_name
from vaezoo.specs.check import FAILED, Faults, convert, record, unknown
from vaezoo.specs.names import Name
from vaezoo.specs.stats import LatentStats
from vaezoo.specs.tree import Node, read_tree

_SHA256, _COMMIT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


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
    """One set of weights. `verified: false` marks a hash or commit that nobody has checked."""

    source: Source
    layout: str
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
    faults, tagged = Faults(), {}
    for tag, node in tree.value.items():
        if tag != "default":
            entry = _record(tag, node, faults)
            if entry is not FAILED:
                tagged[tag] = Tagged(network, tag, entry, path)
    default = convert(tree.value["default"], str, "default", faults)
    if default is not FAILED and default not in tree.value:
        faults.add(tree.value["default"].place, "default", unknown(default, tree.value.keys() - {"default"}, "tag"))
    faults.check()
    return default, tagged


def _record(tag: str, node: Node, faults: Faults) -> WeightsRecord:
    entry = record(node, WeightsRecord, tag, faults)
    if entry is FAILED:
        return entry
    source = node.value["source"]
    if Path(entry.source.file).name != entry.source.file and entry.source.hub is None:
        faults.add(source.place, f"{tag}.source.file", "a bundled file lies beside its record; no folders in its name")
    if entry.source.revision is not None and not _COMMIT.fullmatch(entry.source.revision):
        faults.add(source.place, f"{tag}.source.revision", "expected a commit of 40 hexadecimal digits")
    if entry.sha256 is not None and not _SHA256.fullmatch(entry.sha256):
        faults.add(node.place, f"{tag}.sha256", "expected 64 hexadecimal digits")
    return entry


def find_record(name: Name) -> Tagged:
    """The record that a zoo name asks for: its tag, or the network's default.

    Raises:
        UnknownNameError: If the network has no weights, or no such tag; the text lists the tags.
        CheckpointError: If the weights were withdrawn, or are published as pickle only.
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
    found = tagged[tag]
    if found.record.removed_in:
        raise CheckpointError(f"{found.name} was withdrawn in vaezoo {found.record.removed_in}: {found.record.summary}")
    if found.record.pickle_only:
        raise CheckpointError(
            f"{found.name} is published as a pickle only, which can run code: download {found.record.source.file} from "
            f"{found.record.source.hub} and make a safetensors file of it (docs/hub.md, 'Pickles')"
        )
    return found


def bundled_file(found: Tagged) -> Path:
    """The path of weights that travel with the package."""
    return found.path.parent / found.record.source.file


def list_pretrained(pattern: str = "*") -> list[str]:
    """Names `network.tag` of all weights that can be loaded, in natural order."""
    names = []
    for network in files("weights"):
        _, tagged = read_records(network)
        names += [t.name for t in tagged.values() if not t.record.removed_in]
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


def config_dir() -> Path:
    """The folder of shipped networks, weights and sample photos."""
    return data_dir("configs")
