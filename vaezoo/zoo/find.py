"""From a name to a network and its weights: one function for each kind of name."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from vaezoo.errors import InputError
from vaezoo.formats.diffusers.classes import DiffusersNetwork
from vaezoo.nn.vae import VAE
from vaezoo.specs.catalog import data_dir, model_file
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.names import ModelName, parse_name
from vaezoo.specs.source import WeightsSource
from vaezoo.specs.stats import LatentStats
from vaezoo.weights.config_json import WEIGHTS, read_network
from vaezoo.weights.diffusers_files import config_file, weights_in
from vaezoo.weights.folders import Folder, HubFolder, LocalFolder, check_fetched
from vaezoo.weights.header import Header
from vaezoo.weights.hub import Hub
from vaezoo.weights.load import check_sha256
from vaezoo.weights.lock import Fetched, find_pin
from vaezoo.weights.record_schema import COMMIT
from vaezoo.weights.records import (
    NamedWeights,
    bundled_file,
    check_loadable,
    expand_alias,
    find_record,
)
from vaezoo.zoo.spec_file import read_own_spec, read_spec


class FoundWeights(NamedTuple):
    """A weights file on this machine.

    Args:
        path: Path of the file, of the index of several, or of two as `ENCODER,DECODER`.
        layout: Layout of its names, a key of `LAYOUTS`.
        stats: Latent statistics that belong to the weights; `None` if unknown.
        header: Header of the file, if finding it had to read it.
        unpinned: The download, where neither a record nor the lock file says which commit and content are meant.
        remedy: How to make the latent statistics known, where only the user can tell.
        check: Compares the file with the SHA-256 on record, which takes as long as reading it; `None` if that is done.
    """

    path: str | Path
    layout: str
    stats: LatentStats | None
    header: Header | None = None
    unpinned: Fetched | None = None
    remedy: str | None = None
    check: Callable[[], None] | None = None


class Found(NamedTuple):
    """What a name stands for.

    Args:
        spec: The network.
        source: Where its weights are from; `None` for a network without weights.
        weights: The weights, if they were asked for.
        meta: The network on the meta device, if finding the weights had to build it.
    """

    spec: ModelSpec
    source: WeightsSource | None = None
    weights: FoundWeights | None = None
    meta: VAE | None = None


def find(name: ModelName | ModelSpec, pretrained: bool, hub: Hub) -> Found:
    """Find the network of a name or spec, and with `pretrained` its weights, which are downloaded if need be.

    Args:
        name: Any name but `file:`, which needs `find_file`; or a spec.
        pretrained: Whether the weights are asked for.
        hub: How to reach the Hub.

    Raises:
        UnknownNameError: If there is no such model or tag.
        SpecError: If a YAML file or config has faults.
        InputError: If weights are asked for and the name has none.
        CheckpointError: If weights are damaged or withdrawn.
        FileError: If a path cannot be read.
        HubError: If the Hub does not provide what was asked for.
    """
    if isinstance(name, ModelSpec):
        return _from_spec(name, pretrained)
    if name.source == "file":
        raise InputError(f"{name.text}: a weights file does not say its network; vaezoo.recognize lists what fits")
    return _FINDERS[name.source](name, pretrained, hub)


def at_revision(name: ModelName | ModelSpec, revision: str | None, variant: str | None) -> ModelName | ModelSpec:
    """The name with the revision and the variant that were given as arguments beside it.

    Raises:
        InputError: If such names have no revision or variant, or the name has another revision already.
    """
    source = None if isinstance(name, ModelSpec) else name.source
    if revision is not None and source != "hf-hub":
        raise InputError(f"revision={revision!r} is for hf-hub: names")
    if variant is not None and source not in ("hf-hub", "local-dir"):
        raise InputError(f"variant={variant!r} is for hf-hub: and local-dir: names")
    if variant is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", variant):
        raise InputError(f"variant={variant!r}: expected letters, digits, - and _, such as fp16")
    if isinstance(name, ModelSpec):
        return name
    if revision is not None and name.revision not in (None, revision):
        raise InputError(f"revision={revision!r}, but the name says @{name.revision}; give one of them")
    return name._replace(revision=revision or name.revision, variant=variant)


def fetch(name: str, hub: Hub) -> tuple[FoundWeights, WeightsSource]:
    """The weights of a name, which are downloaded if need be, and where they are from."""
    found = find(parse_name(name), True, hub)
    assert found.weights  # it was asked for
    assert found.source
    if found.weights.check:
        found.weights.check()
    return found.weights, found.source


def _from_spec(spec: ModelSpec, pretrained: bool) -> Found:
    if pretrained:
        raise InputError(
            f"{spec.label} is a network without weights: build it with pretrained=False, then "
            "vaezoo.load_checkpoint(vae, path)"
        )
    return Found(spec)


def _from_yaml(name: ModelName, pretrained: bool, hub: Hub) -> Found:
    return _from_spec(read_own_spec(name.id), pretrained)


def _from_zoo(name: ModelName, pretrained: bool, hub: Hub) -> Found:
    asked, name = name.text, expand_alias(name)
    path = model_file(name.id)
    read = read_spec if path.is_relative_to(data_dir("configs")) else read_own_spec
    spec = read(path, name.id)
    if name.tag is None and not pretrained:
        return Found(spec)
    tagged = find_record(name)
    record = tagged.record
    if record.latent_stats:
        record.latent_stats.check(spec.latent.channels, f"{tagged.path}: {tagged.tag}")
    repo, commit = record.source.hub, record.source.revision
    source = WeightsSource(asked, (), tagged.network, tagged.tag, repo, commit, record.sha256)
    if not pretrained:
        return Found(spec, source)
    check_loadable(tagged)
    assert record.layout  # every loadable record has one
    file, commit, sha256, unpinned = _recorded_file(tagged, hub)
    weights = FoundWeights(file, record.layout, record.latent_stats, unpinned=unpinned)
    return Found(spec, replace(source, files=(file,), commit=commit, known_sha256=sha256), weights)


def _recorded_file(tagged: NamedWeights, hub: Hub) -> tuple[Path, str | None, str | None, Fetched | None]:
    """Path, commit and SHA-256 of recorded weights, and the download if nothing pins it."""
    record, repo, file = tagged.record, tagged.record.source.hub, tagged.record.source.file
    if repo is None:
        path = bundled_file(tagged)
        check_sha256(path, record.sha256, "reinstall vaezoo")
        return path, None, record.sha256, None
    revision = record.source.revision
    pin = find_pin(hub.lock, tagged.name, repo, revision, {file: record.sha256})
    commit = pin.commit if pin else hub.resolve(repo, revision)
    path = hub.fetch(repo, file, commit)
    sha256 = check_fetched(path, repo, file, record.sha256, pin)
    return path, commit, sha256, None if pin or record.pinned else Fetched(tagged.name, repo, commit, {file: path})


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
    return found._replace(weights=found.weights._replace(unpinned=unpinned))


def _from_folder(folder: Folder, pretrained: bool) -> Found:
    variant, network = folder.name.variant, read_network(config_file(folder))
    if isinstance(network, DiffusersNetwork):
        if not pretrained:
            return Found(network.spec, folder.source(network.spec))
        path, *shards = weights_in(folder, variant)
        source = folder.source(network.spec, shards or [path])
        return Found(network.spec, source, FoundWeights(path, "diffusers", network.stats))
    if variant:
        raise InputError(f"variant={variant!r}: {folder.name.text} was written by vaezoo, with one file of weights")
    spec, config = network
    if not pretrained:
        return Found(spec, folder.source(spec, sha256=config.weights.sha256))
    sha256 = config.weights.sha256
    path = folder.read(WEIGHTS, sha256)
    source = folder.source(spec, [path], sha256)
    return Found(
        spec, source, FoundWeights(path, "native", config.latent_stats, check=partial(folder.check, path, sha256))
    )


_FINDERS: dict[str, Callable[[ModelName, bool, Hub], Found]] = {
    "zoo": _from_zoo,
    "yaml": _from_yaml,
    "local-dir": _from_disk,
    "hf-hub": _from_hub,
}
