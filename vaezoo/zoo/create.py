"""`create` and what belongs to it: the place where specs, networks and weights meet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vaezoo.errors import InputError, UnknownNameError
from vaezoo.nn.build import default_device
from vaezoo.nn.dtypes import dtype_of
from vaezoo.nn.halves import check_part, check_whole
from vaezoo.nn.unwrap import unwrapped
from vaezoo.nn.vae import VAE
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.names import ModelName, parse_name
from vaezoo.specs.source import WeightsSource
from vaezoo.weights.header import read_header
from vaezoo.weights.hub import Hub
from vaezoo.weights.load import check_dtype, load_into
from vaezoo.weights.records import expand_alias, read_records
from vaezoo.weights.snapshot import read_settled
from vaezoo.zoo.find import at_revision, find
from vaezoo.zoo.find_file import find_file
from vaezoo.zoo.found_model import model_of
from vaezoo.zoo.recognize import find_layout


def create(
    name: str | Path | ModelSpec,
    pretrained: bool = False,
    *,
    overrides: Mapping[str, Any] | None = None,
    network: str | None = None,
    tag: str | None = None,
    layout: str = "auto",
    part: str | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = torch.float32,
    optimize: bool = False,
    revision: str | None = None,
    variant: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    endpoint: str | None = None,
) -> VAE:
    """Create a VAE by name, in eval mode.

    Args:
        name: What to create, one of

            - `network`, `network.tag`, or an alias of weights ("-" and "_" are the same),
            - `hf-hub:org/name@revision#subfolder`, a repository on the Hub, written by vaezoo or diffusers,
            - `local-dir:folder#subfolder`, such a folder on disk, also as `./folder` or a `Path`,
            - `file:weights.safetensors`, the index of several (`file:weights.safetensors.index.json`), or
              `file:ENCODER,DECODER`,
            - the path of a YAML file with a network,
            - a `ModelSpec`.
        pretrained: Whether to load the weights of `name`; if it has none, that is an error. With `False` the weights
            are random. A `file:` is always loaded.
        overrides: Changes to the network, such as `{"latent.channels": 16, "encoder.*.layers": 3}`. The weights must
            fit the changed network; only more latent channels are filled in (`vaezoo.warmstart.widen`). The latent
            statistics are unknown if encoder or latents are changed.
        network: For `file:`, the network, if names and shapes do not determine it.
        tag: For `file:`, the recorded weights that give network and latent statistics: `network.tag`, or a tag of
            `network`.
        layout: For `file:`, the layout of the names in the file; "auto" finds it.
        part: The only half to load and allocate, "encoder" or "decoder"; `None` means both. Methods that need the other
            one raise an error, and the model cannot be saved.
        device: Device of the model; `None` means PyTorch's default device. Weights cannot be loaded to "meta".
        dtype: Floating-point dtype of the weights, also as text: "fp32", "bf16" or "fp16". `None` keeps that of the
            file. If its tensors have several, it means the smallest dtype that holds all their values.
        optimize: Whether to return `vaezoo.optimize(vae)`, which encodes and decodes faster.
        revision: For `hf-hub:`, a branch, tag or commit; `None` means the main branch.
        variant: For folders that diffusers wrote, which of several weights files, such as "fp16"; `None` means the
            plain one, or fp16 if there is no other.
        token: Access token for the Hub; `None` means the one that `hf auth login` saved, `False` means none.
        cache_dir: Folder for downloads; `None` means the cache of huggingface_hub.
        local_files_only: Whether to use the cache only and make no request.
        force_download: Whether to download files again that are in the cache.
        endpoint: Address of the Hub; `None` means `HF_ENDPOINT` or huggingface.co.

    Returns:
        The model. Its `source` says where the weights were loaded from.

    Raises:
        UnknownNameError: If there is no such model or tag; the text suggests similar names.
        InputError: If arguments exclude each other, or `device` or `dtype` cannot be used.
        SpecError: If a YAML file, config or override has faults; the text lists all of them.
        CheckpointError: If weights are damaged, unsafe, or made for another network.
        FileError: If a path cannot be read.
        HubError: If the Hub does not provide what was asked for.

    Examples:
        >>> import torch, vaezoo
        >>> vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)
        >>> with torch.inference_mode():
        ...     z = vae.encode(torch.zeros(1, 3, 64, 64)).mode()
        ...     images = vae.decode(z)
        >>> z.shape, images.shape
        (torch.Size([1, 4, 8, 8]), torch.Size([1, 3, 64, 64]))

        A change of the network, with random weights:

        >>> vaezoo.create("vae_f8_z4_micro", overrides={"latent.channels": 16}).latent_channels
        16
    """
    hub = Hub(endpoint, token, cache_dir, local_files_only, force_download)
    parsed = at_revision(name if isinstance(name, ModelSpec) else parse_name(name), revision, variant)
    device = default_device() if device is None else usable_device(device)
    dtype = dtype_of(dtype)
    check_dtype(dtype)
    check_part(part)
    if isinstance(parsed, ModelName) and parsed.source == "file":
        vae = model_of(find_file(parsed.id, network, tag, layout, hub), overrides or {}, dtype, device, part)
        return _fast(vae) if optimize else vae
    _only_for_files(network=network, tag=tag, layout=None if layout == "auto" else layout)

    def made() -> VAE:
        return model_of(find(parsed, pretrained, hub), overrides or {}, dtype, device, part)

    vae = made() if isinstance(parsed, ModelSpec) else read_settled(parsed, made)
    return _fast(vae) if optimize else vae


def _fast(vae: VAE) -> VAE:
    from vaezoo.inference.optimize import optimize  # many modules that other models do not need

    return optimize(vae)


def get_spec(
    name: str | Path,
    *,
    revision: str | None = None,
    variant: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    endpoint: str | None = None,
) -> ModelSpec:
    """Get the network of a name without its weights; arguments and errors are those of `create`.

    A `file:` does not say its network; `vaezoo.recognize` lists the networks that fit.

    Examples:
        >>> import vaezoo
        >>> vaezoo.get_spec("vae_f8_z4").latent.channels
        4
    """
    hub = Hub(endpoint, token, cache_dir, local_files_only, force_download)
    return find(at_revision(parse_name(name), revision, variant), False, hub).spec


def is_model(name: str) -> bool:
    """Whether `name` is a network of the zoo, a `network.tag` or an alias of weights."""
    try:
        parsed = parse_name(name)
        if parsed.source != "zoo":
            return False
        expanded = expand_alias(parsed)
        return expanded.tag is None or expanded.tag in read_records(expanded.id).by_tag
    except UnknownNameError:
        return False


def load_checkpoint(vae: VAE, path: str | Path, layout: str = "auto") -> VAE:
    """Load the weights of a safetensors file into a VAE, strictly, in its own dtype and on its own device.

    A VAE on the meta device moves to PyTorch's default device.

    Args:
        vae: The model. Its latent statistics belonged to the old weights: they are replaced by those in the file, or
            become unknown. Its `source` becomes the file.
        path: The file, the index of several (`*.safetensors.index.json`), or two as `ENCODER,DECODER`.
        layout: Layout of the names in the file, see `docs/hub.md`; "auto" finds the one whose names and shapes fit. A
            file that vaezoo wrote for another network of the same shapes is refused unless the layout is given.

    Returns:
        The same `vae`.

    Raises:
        CheckpointError: If the file does not fit; the text is a diff of names and shapes.
        FileError: If there is no such file.
    """
    inner, header = unwrapped(vae), read_header(path)
    check_whole(inner, "load weights into it")
    device = default_device() if inner.device.type == "meta" else inner.device
    spec_hash = inner.spec.hash if layout == "auto" else None
    layout = find_layout(inner, header) if layout == "auto" else layout
    inner.latent_stats = load_into(inner, path, layout, spec_hash, inner.dtype, device, header)
    inner.source = WeightsSource(f"file:{path}", header.files, inner.spec.name)
    return vae


def usable_device(device: torch.device | str) -> torch.device:
    """The device, which PyTorch must be able to use here.

    Raises:
        InputError: If it cannot; the text has PyTorch's reason.
    """
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
