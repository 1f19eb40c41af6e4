"""Names to networks and weights at hand: one finder for each source of a name."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from vaezoo.errors import InputError, UnknownNameError
from vaezoo.formats.diffusers.config_class import Foreign
from vaezoo.nn.build import build
from vaezoo.specs.catalog import files, model_file
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.names import ModelName, parse_name
from vaezoo.specs.stats import LatentStats
from vaezoo.weights.config_json import WEIGHTS, read_network
from vaezoo.weights.diffusers_files import config_file, weights_file
from vaezoo.weights.folders import Folder, HubFolder, LocalFolder, check_fetched
from vaezoo.weights.header import read_header, weights_files
from vaezoo.weights.hub import Hub
from vaezoo.weights.load import check_sha256, sha256_of
from vaezoo.weights.lock import Fetched, find_pin
from vaezoo.weights.record_schema import COMMIT
from vaezoo.weights.records import (
    NamedWeights,
    bundled_file,
    check_loadable,
    expand_alias,
    find_by_sha256,
    find_record,
    tags_by_statistics,
)
from vaezoo.zoo.recognize import choose, find_layout
from vaezoo.zoo.spec_file import read_spec


class Weights(NamedTuple):
    """A weights file at hand: where it is, its layout, and the latent statistics that belong to it.

    `unpinned` is there where neither a record nor the lock says which commit and content is meant; `remedy` where
    records could tell the statistics.
    """

    path: str | Path
    layout: str
    stats: LatentStats | None
    unpinned: Fetched | None = None
    remedy: str | None = None


class Found(NamedTuple):
    """What a name stands for: a network, and its weights where they were asked for."""

    spec: ModelSpec
    weights: Weights | None = None


def find(name: ModelName | ModelSpec, pretrained: bool, hub: Hub) -> Found:
    """What a name, but for `file:`, or a spec stands for; with `pretrained` its weights, downloaded if need be.

    Raises:
        UnknownNameError: If there is no such model or tag.
        SpecError: If a YAML file or config has faults.
        InputError: If it has no weights and they are asked for.
        CheckpointError: If weights are damaged or withdrawn.
        FileError: If a path cannot be read.
        HubError: If the Hub does not give what was asked.
    """
    if isinstance(name, ModelSpec):
        return _from_spec(name, pretrained)
    if name.source == "file":
        raise InputError(f"file:{name.id}: a weights file does not say its network; see vaezoo.recognize")
    return _FINDERS[name.source](name, pretrained, hub)


def narrowed(name: ModelName | ModelSpec, revision: str | None, variant: str | None) -> ModelName | ModelSpec:
    """The name with a revision, and a variant of its weights.

    Raises:
        InputError: If there is none of it for such names, or the name says otherwise.
    """
    source = None if isinstance(name, ModelSpec) else name.source
    if revision is not None and source != "hf-hub":
        raise InputError(f"revision={revision!r} is for hf-hub: names")
    if variant is not None and source not in ("hf-hub", "local-dir"):
        raise InputError(f"variant={variant!r} is for hf-hub: and local-dir: names")
    if variant is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", variant):
        raise InputError(f"variant={variant!r}: expected letters, digits, - and _, such as fp16")
    if revision is not None and name.revision not in (None, revision):
        raise InputError(f"revision={revision!r}, but the name says @{name.revision}; give one of them")
    if source is None:
        return name
    return name._replace(revision=revision or name.revision, variant=variant)


def find_file(path: str, network: str | None, tag: str | None, layout: str, hub: Hub) -> Found:
    """The weights file at `path` and its network: the one named, that of the weights `tag`, or the one that fits.

    Raises:
        CheckpointError: If none or several networks fit and none is named.
        FileError: If there is no such file.
    """
    wanted = parse_name(network) if network else None
    if wanted and wanted.source == "zoo":
        wanted = expand_alias(wanted)  # `network.tag`, and an alias, say both
    said = tag or (wanted.tag if wanted else None)
    tagged = _tagged(wanted, said) if said else _on_record(path, wanted)
    if tagged and wanted and (wanted.id, wanted.tag or tagged.tag) != (tagged.network, tagged.tag):
        raise InputError(f"network={network!r}, but tag={tag!r} is {tagged.name}; give one of them")
    if tagged:
        wanted = ModelName("zoo", tagged.network)
    if wanted is None:
        candidate = choose(path, layout)
        wanted, layout = ModelName("zoo", candidate.network), candidate.layout
    spec = find(wanted, False, hub).spec
    if layout == "auto":
        layout = find_layout(build(spec, "meta"), path)
    stats = tagged.record.latent_stats if tagged else None
    return Found(spec, Weights(path, layout, stats, remedy=None if stats else _remedy(spec)))


def _on_record(path: str, wanted: ModelName | None) -> NamedWeights | None:
    """The weights on record whose file this is, bit by bit, unless they are of another network than the one named."""
    paths = weights_files(path)
    if len(paths) > 1:
        return None
    read_header(paths[0])  # what is no file of weights is refused before gigabytes of it are hashed
    tagged = find_by_sha256(sha256_of(paths[0]))
    return tagged if tagged and (wanted is None or wanted.id == tagged.network) else None


def _remedy(spec: ModelSpec) -> str | None:
    """How to tell the statistics of a file that could be several weights on record."""
    tags = tags_by_statistics(spec.name) if spec.name in files("models") else ""
    return f"names and shapes cannot tell these weights apart: {tags}; say which with tag=" if tags else None


def fetch(name: str, hub: Hub) -> Weights:
    """The weights that a name stands for, downloaded if need be."""
    return find(parse_name(name), True, hub).weights


def _from_spec(spec: ModelSpec, pretrained: bool) -> Found:
    if pretrained:
        raise InputError(
            f"{spec.label} is a network without weights: build it with pretrained=False, then "
            "vaezoo.load_checkpoint(vae, path)"
        )
    return Found(spec)


def _from_yaml(name: ModelName, pretrained: bool, hub: Hub) -> Found:
    return _from_spec(read_spec(name.id), pretrained)


def _from_zoo(name: ModelName, pretrained: bool, hub: Hub) -> Found:
    name = expand_alias(name)
    spec = read_spec(model_file(name.id), name.id)
    if name.tag is None and not pretrained:
        return Found(spec)
    tagged = find_record(name)
    if tagged.record.latent_stats:
        tagged.record.latent_stats.check(spec.latent.channels, f"{tagged.path}: {tagged.tag}")
    return Found(spec, _recorded(tagged, hub) if pretrained else None)


def _recorded(tagged: NamedWeights, hub: Hub) -> Weights:
    source, record = tagged.record.source, tagged.record
    check_loadable(tagged)
    if record.bundled:
        path = bundled_file(tagged)
        check_sha256(path, record.sha256, "reinstall vaezoo")
        return Weights(path, record.layout, record.latent_stats)
    pin = find_pin(hub.lock, tagged.name, source.hub, source.revision, {source.file: record.sha256})
    commit = pin.commit if pin else hub.resolve(source.hub, source.revision)
    path = hub.fetch(source.hub, source.file, commit)
    check_fetched(path, source.hub, source.file, record.sha256, pin)
    fetched = Fetched(tagged.name, source.hub, commit, {source.file: path})
    return Weights(path, record.layout, record.latent_stats, None if pin or record.pinned else fetched)


def _from_disk(name: ModelName, pretrained: bool, hub: Hub) -> Found:
    return _from_folder(LocalFolder(name), pretrained)


def _from_hub(name: ModelName, pretrained: bool, hub: Hub) -> Found:
    pin = find_pin(hub.lock, name.text, name.id, name.revision, {})
    # resolved once, so that config and weights are of one commit
    commit = pin.commit if pin else hub.resolve(name.id, name.revision)
    folder = HubFolder(name, hub, commit, pin)
    found = _from_folder(folder, pretrained)
    if found.weights is None or pin or COMMIT.fullmatch(name.revision or ""):
        return found
    unpinned = Fetched(name.text, name.id, commit, folder.fetched)
    return Found(found.spec, found.weights._replace(unpinned=unpinned))


def _from_folder(folder: Folder, pretrained: bool) -> Found:
    variant, network = folder.name.variant, read_network(config_file(folder))
    if isinstance(network, Foreign):
        found = Weights(weights_file(folder, variant), "diffusers", network.stats) if pretrained else None
        return Found(network.spec, found)
    if variant:
        raise InputError(f"variant={variant!r}: {folder.name.text} was written by vaezoo, with one file of weights")
    spec, config = network
    if not pretrained:
        return Found(spec)
    return Found(spec, Weights(folder.read(WEIGHTS, config.weights.sha256), "native", config.latent_stats))


def _tagged(wanted: ModelName | None, tag: str) -> NamedWeights:
    name = expand_alias(parse_name(tag if wanted is None or "." in tag else f"{wanted.id}.{tag}"))
    if name.tag is None:
        raise UnknownNameError(f"tag={tag!r}: name the network too, network.tag or network=")
    return find_record(name)


_FINDERS: dict[str, Callable[[ModelName, bool, Hub], Found]] = {
    "zoo": _from_zoo,
    "yaml": _from_yaml,
    "local-dir": _from_disk,
    "hf-hub": _from_hub,
}
