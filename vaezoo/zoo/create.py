"""Models by name: the place where specs, networks and weights meet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vaezoo.errors import InputError, UnknownNameError
from vaezoo.nn.build import build, default_device
from vaezoo.nn.schema import change_spec
from vaezoo.nn.vae import VAE
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.names import ModelName, parse_name
from vaezoo.warmstart.widen import widen
from vaezoo.weights.hub import Hub
from vaezoo.weights.load import check_dtype, load_into
from vaezoo.weights.records import expand_alias, read_records
from vaezoo.weights.tensors import joined_statistics
from vaezoo.zoo.find import Found, find, find_file, narrowed
from vaezoo.zoo.recognize import find_layout


def create(
    name: str | Path | ModelSpec,
    pretrained: bool = False,
    *,
    overrides: Mapping[str, Any] | None = None,
    network: str | None = None,
    tag: str | None = None,
    layout: str = "auto",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = torch.float32,
    revision: str | None = None,
    variant: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    endpoint: str | None = None,
) -> VAE:
    """A VAE by name, in eval mode.

    Args:
        name: `network`, `network.tag` or an alias of weights ("-" and "_" are the same);
            `hf-hub:org/name@revision#subfolder` or `local-dir:folder#subfolder`, as vaezoo or diffusers wrote it;
            `file:weights.safetensors` (or `file:ENCODER,DECODER`); the path of a YAML file; or a spec.
        pretrained: True loads the weights that `name` stands for, or raises; False leaves fresh random ones. A `file:`
            is always loaded.
        overrides: Changes to the network, such as `{"latent.channels": 16, "encoder.*.layers": 3}`. Weights must fit
            the changed network, but for more latent channels (`vaezoo.warmstart.widen`). Latent statistics stay unknown
            where encoder or latents are changed.
        network: For `file:`, the network, where names and shapes do not tell.
        tag: For `file:`, the weights on record whose network and latent statistics apply: `network.tag`, or a tag of
            `network`.
        layout: For `file:`, the layout of its names; "auto" finds it.
        device: Where to put the model; None is PyTorch's default device.
        dtype: Floating type of the weights; None keeps a file's own.
        revision: For `hf-hub:`, a branch, tag or commit.
        variant: For folders that diffusers wrote, which of several files of weights, such as "fp16"; None is the plain
            one, or fp16 where there is no other.
        token: Access token for the Hub; None is the one that `hf auth login` saved.
        cache_dir: Where downloads are kept.
        local_files_only: Use what is in the cache, make no request.
        force_download: Fetch again what is cached.
        endpoint: Address of the Hub; None is `HF_ENDPOINT` or huggingface.co.

    Raises:
        UnknownNameError: If there is no such model or tag; the text names near ones.
        InputError: If arguments do not go together, or `device` or `dtype` is none.
        SpecError: If a YAML file, config or override has faults; all of them in one text.
        CheckpointError: If weights are damaged, unsafe, or of another network.
        FileError: If a path cannot be read.
        HubError: If the Hub does not give what was asked.
    """
    hub = Hub(endpoint, token, cache_dir, local_files_only, force_download)
    name = narrowed(name if isinstance(name, ModelSpec) else parse_name(name), revision, variant)
    if isinstance(name, ModelName) and name.source == "file":
        found = find_file(name.id, network, tag, layout, hub)
    else:
        _only_for_files(network=network, tag=tag, layout=None if layout == "auto" else layout)
        found = find(name, pretrained, hub)
    spec = change_spec(found.spec, overrides) if overrides else found.spec
    device = default_device() if device is None else usable_device(device)
    check_dtype(dtype)
    if found.weights is None:
        return build(spec, device).to(dtype or torch.float32).eval()
    return _with_weights(found, spec, overrides or {}, dtype, device).eval()


def get_spec(
    name: str,
    *,
    revision: str | None = None,
    variant: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    endpoint: str | None = None,
) -> ModelSpec:
    """The network that a name stands for, without its weights; arguments and errors as for `create`.

    A `file:` says nothing of its network; `vaezoo.recognize` lists what fits.
    """
    hub = Hub(endpoint, token, cache_dir, local_files_only, force_download)
    return find(narrowed(parse_name(name), revision, variant), False, hub).spec


def is_model(name: str) -> bool:
    """Whether `name` is a network, a `network.tag` or an alias of this zoo."""
    try:
        parsed = parse_name(name)
        if parsed.source != "zoo":
            return False
        expanded = expand_alias(parsed)
        return expanded.tag is None or expanded.tag in read_records(expanded.id).by_tag
    except UnknownNameError:
        return False


def load_checkpoint(vae: VAE, path: str | Path, layout: str = "auto") -> VAE:
    """Give `vae` the weights of a safetensors file, strictly, in its own dtype and on its own device; returns it.

    One on the meta device comes to PyTorch's default device.

    Args:
        vae: The network; its latent statistics are forgotten, because they belonged to the old weights, or become
            those that the file holds.
        path: The file, or two as `ENCODER,DECODER`.
        layout: A key of the layouts (`docs/hub.md`); "auto" finds the one whose names and shapes fit. A file that
            vaezoo wrote for another spec of the same shapes is refused unless the layout is named.

    Raises:
        CheckpointError: If it does not fit; the text is a diff of names and shapes.
        FileError: If there is no such file.
    """
    device = default_device() if vae.device.type == "meta" else vae.device
    if layout == "auto":
        stored = load_into(vae, path, find_layout(vae, path), vae.spec.hash, vae.dtype, device)
    else:
        stored = load_into(vae, path, layout, None, vae.dtype, device)
    vae.latent_stats = stored
    return vae


def _with_weights(
    found: Found, spec: ModelSpec, overrides: Mapping[str, Any], dtype: torch.dtype | None, device: torch.device
) -> VAE:
    """The network `spec`, which is the one found with `overrides`, with the weights found."""
    weights, fitting = found.weights, spec
    if spec.latent.channels > found.spec.latent.channels:
        others = {path: value for path, value in overrides.items() if path != "latent.channels"}
        fitting = change_spec(found.spec, others) if others else found.spec
    vae = build(fitting, "meta")
    stored = load_into(vae, weights.path, weights.layout, found.spec.hash, dtype, device)
    if fitting is not spec:
        vae = widen(vae, spec)
    if (spec.encoder, spec.latent) == (found.spec.encoder, found.spec.latent):
        vae.latent_stats = joined_statistics(stored, weights.stats, weights.path)
        vae.statistics_remedy = weights.remedy or vae.statistics_remedy
    return vae


def usable_device(device: torch.device | str) -> torch.device:
    """The device, or an `InputError` if PyTorch cannot use it here."""
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a PyTorch without CUDA
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"device {device}: PyTorch cannot use it here ({reason})") from error
    return found


def _only_for_files(**arguments: str | None) -> None:
    given = [f"{key}=" for key, value in arguments.items() if value is not None]
    if given:
        raise InputError(f"{', '.join(given)} is for file: names; other names say their network and tag themselves")
