"""Models by name: the place where specs, networks and weights meet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vaezoo.errors import CheckpointError, HubError, InputError, UnknownNameError
from vaezoo.nn.schema import change_spec, read_spec
from vaezoo.nn.vae import VAE, build
from vaezoo.specs.catalog import model_file
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.names import Name, parse_name
from vaezoo.specs.stats import LatentStats
from vaezoo.weights.checkpoint import check_sha256, load_into
from vaezoo.weights.folder import CONFIG, WEIGHTS, local_config, local_weights, read_config
from vaezoo.weights.hub import Hub
from vaezoo.weights.recognize import choose, find_layout
from vaezoo.weights.records import Tagged, bundled_file, expand_alias, find_record, read_records


class Weights(NamedTuple):
    """A weights file at hand: where it is, its layout, and the latent statistics that belong to it."""

    path: Path
    layout: str
    stats: LatentStats | None


class Found(NamedTuple):
    """What a name stands for: a network, and its weights where they were asked for."""

    spec: ModelSpec
    weights: Weights | None = None


def create(
    name: str | ModelSpec,
    pretrained: bool = False,
    *,
    overrides: Mapping[str, Any] | None = None,
    network: str | None = None,
    tag: str | None = None,
    layout: str = "auto",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = torch.float32,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    endpoint: str | None = None,
) -> VAE:
    """A VAE by name, in eval mode.

    Args:
        name: `network`, `network.tag` or an alias of weights ("-" and "_" are the same); `hf-hub:org/name@revision`;
            `local-dir:folder`; `file:weights.safetensors`; the path of a YAML file; or a spec.
        pretrained: True loads the weights that `name` stands for, or raises; False leaves fresh random ones. A `file:`
            is always loaded.
        overrides: Changes to the network, such as `{"latent.channels": 16, "encoder.*.layers": 3}`.
        network: For `file:`, the network, where names and shapes do not tell.
        tag: For `file:`, the weights on record whose network and latent statistics apply: `network.tag`, or a tag of
            `network`.
        layout: For `file:`, the layout of its names; "auto" finds it.
        device: Where to put the model; None is PyTorch's default device.
        dtype: Floating type of the weights; None keeps a file's own.
        revision: For `hf-hub:`, a branch, tag or commit.
        token: Access token for the Hub; None is the one that `hf auth login` saved.
        cache_dir: Where downloads are kept.
        local_files_only: Use what is in the cache, make no request.
        force_download: Fetch again what is cached.
        endpoint: Address of the Hub; None is `HF_ENDPOINT` or huggingface.co.

    Raises:
        UnknownNameError: If there is no such model or tag; the text names near ones.
        SpecError: If a YAML file, config or override has faults; all of them in one text.
        CheckpointError: If weights are damaged, unsafe, or of another network.
        FileError: If a path cannot be read.
        HubError: If the Hub does not give what was asked.
    """
    hub = Hub(endpoint, token, cache_dir, local_files_only, force_download)
    if isinstance(name, ModelSpec):
        found = _from_spec(name, pretrained)
    else:
        parsed = parse_name(name)
        if parsed.source == "file":
            found = _from_file(parsed.id, network, tag, layout)
        else:
            _only_for_files(network=network, tag=tag, layout=None if layout == "auto" else layout)
            found = _FINDERS[parsed.source](_with_revision(parsed, revision), pretrained, hub)
    spec = change_spec(found.spec, overrides) if overrides else found.spec
    if found.weights is None:
        return build(spec, device).to(dtype or torch.float32).eval()
    vae = build(spec, "meta")
    target = torch.device(device) if device is not None else torch.get_default_device()
    load_into(vae, found.weights.path, found.weights.layout, found.spec.hash, dtype, target)
    vae.latent_stats = found.weights.stats
    return vae.eval()


def get_spec(name: str, **hub: Any) -> ModelSpec:
    """The network that a name stands for, without its weights.

    Args:
        name: As for `create`, but for `file:`.
        **hub: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download`, `endpoint`, as for `create`.
    """
    parsed = _with_revision(parse_name(name), hub.pop("revision", None))
    if parsed.source == "file":
        raise InputError(f"{name}: a weights file says nothing of its network; vaezoo.recognize lists what fits")
    return _FINDERS[parsed.source](parsed, False, Hub(**hub)).spec


def is_model(name: str) -> bool:
    """Whether `name` is a network, a `network.tag` or an alias of this zoo."""
    try:
        parsed = parse_name(name)
        if parsed.source != "zoo":
            return False
        expanded = expand_alias(parsed)
        return expanded.tag is None or expanded.tag in read_records(expanded.id)[1]
    except UnknownNameError:
        return False


def load_checkpoint(vae: VAE, path: str | Path, layout: str = "auto") -> VAE:
    """Give `vae` the weights of a safetensors file, strictly, in its own dtype and on its own device; returns it.

    Args:
        vae: The network; its latent statistics are forgotten, because they belonged to the old weights.
        path: The file.
        layout: A key of the layouts (`docs/hub.md`); "auto" finds the one whose names and shapes fit. A file that
            vaezoo wrote for another spec of the same shapes is refused unless the layout is named.

    Raises:
        CheckpointError: If it does not fit; the text is a diff of names and shapes.
        FileError: If there is no such file.
    """
    expected = vae.spec.hash if layout == "auto" else None
    load_into(vae, path, find_layout(vae, path, layout), expected, vae.dtype, vae.device)
    vae.latent_stats = None
    return vae


def local_path(name: str, hub: Hub) -> Path:
    """The weights that a name stands for as a file on this machine, downloaded if need be."""
    parsed = parse_name(name)
    if parsed.source == "file":
        return Path(parsed.id)
    weights = _FINDERS[parsed.source](parsed, True, hub).weights
    return weights.path


def _from_spec(spec: ModelSpec, pretrained: bool) -> Found:
    if pretrained:
        raise InputError(
            f"{spec.name or 'a spec'} is a network without weights: build it with pretrained=False, then "
            "vaezoo.load_checkpoint(vae, path)"
        )
    return Found(spec)


def _from_yaml(name: Name, pretrained: bool, hub: Hub) -> Found:
    return _from_spec(read_spec(name.id), pretrained)


def _from_zoo(name: Name, pretrained: bool, hub: Hub) -> Found:
    name = expand_alias(name)
    spec = read_spec(model_file(name.id), name.id)
    if name.tag is None and not pretrained:
        return Found(spec)
    tagged = find_record(name)
    if tagged.record.latent_stats:
        tagged.record.latent_stats.check(spec.latent.channels, f"{tagged.path}: {tagged.tag}")
    return Found(spec, _recorded_weights(tagged, hub) if pretrained else None)


def _recorded_weights(tagged: Tagged, hub: Hub) -> Weights:
    source, record = tagged.record.source, tagged.record
    if source.hub is None:
        path = bundled_file(tagged)
        check_sha256(path, record.sha256)
    else:
        commit = hub.resolve(source.hub, source.revision)
        path = hub.fetch(source.hub, source.file, commit)
        _check_download(path, record.sha256, source.hub)
    return Weights(path, record.layout, record.latent_stats)


def _from_folder(name: Name, pretrained: bool, hub: Hub) -> Found:
    spec, config = read_config(local_config(name.id))
    if not pretrained:
        return Found(spec)
    path = local_weights(name.id)
    check_sha256(path, config.weights.sha256 if config.weights else None)
    return Found(spec, Weights(path, "native", config.latent_stats))


def _from_hub(name: Name, pretrained: bool, hub: Hub) -> Found:
    commit = hub.resolve(name.id, name.revision)  # once, so that config and weights are of one commit
    spec, config = read_config(hub.fetch(name.id, CONFIG, commit))
    if not pretrained:
        return Found(spec)
    path = hub.fetch(name.id, WEIGHTS, commit)
    _check_download(path, config.weights.sha256 if config.weights else None, name.id)
    return Found(spec, Weights(path, "native", config.latent_stats))


def _check_download(path: Path, sha256: str | None, repo: str) -> None:
    try:
        check_sha256(path, sha256)
    except CheckpointError as error:
        raise HubError("hash", f"{repo}: {error}") from error


def _from_file(path: str, network: str | None, tag: str | None, layout: str) -> Found:
    tagged = _tagged(network, tag) if tag else None
    network = tagged.network if tagged else network
    spec = _named_spec(network) if network else None
    if layout == "auto" or spec is None:
        candidate = choose(path, network, spec)
        spec = spec or _named_spec(candidate.network)
        layout = candidate.layout
    return Found(spec, Weights(Path(path), layout, tagged.record.latent_stats if tagged else None))


def _named_spec(network: str) -> ModelSpec:
    return get_spec(network)


def _tagged(network: str | None, tag: str) -> Tagged:
    text = tag if network is None or "." in tag else f"{network}.{tag}"
    name = expand_alias(parse_name(text))
    if name.tag is None:
        raise UnknownNameError(f"tag={tag!r}: name the network too, network.tag or network=")
    return find_record(name)


def _only_for_files(**arguments: str | None) -> None:
    given = [f"{key}=" for key, value in arguments.items() if value is not None]
    if given:
        raise InputError(f"{', '.join(given)} is for file: names; other names say their network and tag themselves")


def _with_revision(name: Name, revision: str | None) -> Name:
    if revision is None:
        return name
    if name.source != "hf-hub":
        raise InputError(f"revision={revision!r} is for hf-hub: names")
    if name.revision not in (None, revision):
        raise InputError(f"revision={revision!r}, but the name says @{name.revision}; give one of them")
    return name._replace(revision=revision)


_FINDERS = {"zoo": _from_zoo, "yaml": _from_yaml, "local-dir": _from_folder, "hf-hub": _from_hub}
