"""A VAE of diffusers, in memory, as a model of the zoo."""

from collections.abc import Mapping

from torch import Tensor, nn

from vaezoo.adapters.as_diffusers import DiffusersVAE
from vaezoo.errors import CheckpointError, InputError
from vaezoo.formats.diffusers.classes import CLASS_KEY, spec_from_config
from vaezoo.nn.build import build
from vaezoo.nn.dtypes import STORED_DTYPES
from vaezoo.nn.vae import VAE
from vaezoo.specs.stats import LatentStats
from vaezoo.specs.tree import Location, from_plain
from vaezoo.weights.header import Header
from vaezoo.weights.load import fitting, tensors_of
from vaezoo.weights.tensors import merge_statistics, read_statistics

LAYOUT = "diffusers"


def from_diffusers(module: nn.Module) -> VAE:
    """Convert a VAE of diffusers, in memory, to a model of the zoo with the same weights, dtype, device and mode.

    Network and latent statistics come from its `config`. diffusers is not imported.

    Args:
        module: The VAE, such as `pipeline.vae`; it is not changed.

    Returns:
        A model with copies of the tensors; for a module that `as_diffusers` made, the VAE inside it.

    Raises:
        InputError: If `module` is not a module with a `config`.
        SpecError: If no network of the zoo matches its class or config; the text lists the supported classes.
        CheckpointError: If its tensors are not those of its config, are quantized, or on the meta device.

    Examples:
        >>> import vaezoo
        >>> vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)
        >>> vaezoo.from_diffusers(vaezoo.as_diffusers(vae)) is vae
        True
    """
    if isinstance(module, DiffusersVAE):
        return module.vae
    config: object = getattr(module, "config", None)
    if not isinstance(module, nn.Module) or not isinstance(config, Mapping):
        raise InputError(f"from_diffusers: expected a VAE of diffusers, with its config, not {type(module).__name__}")
    name = type(module).__name__
    entries = {key: value for key, value in config.items() if not key.startswith("_")}
    found = spec_from_config(from_plain({CLASS_KEY: name, **entries}, Location(f"the config of {name}")))
    vae, state = build(found.spec, "meta"), module.state_dict()
    if any(tensor.is_meta for tensor in state.values()):
        raise CheckpointError(f"this {name} is on the meta device, or offloaded: it has shapes but no weights")
    tensors, stored = _translated(vae, state, name)
    vae.load_state_dict(tensors, strict=True, assign=True)
    vae.latent_stats = merge_statistics(stored, found.stats, f"this {name}")
    return vae.train(module.training)


def _translated(vae: VAE, state: Mapping[str, Tensor], name: str) -> tuple[dict[str, Tensor], LatentStats | None]:
    """Copies of the tensors with the names of a VAE, and the statistics of packed latents among them."""
    header = Header({key: tuple(tensor.shape) for key, tensor in state.items()}, {}, {}, {})
    names, seen = fitting(vae, header, LAYOUT, f"this {name} has other tensors than its config stands for")
    odd = sorted({str(state[raw].dtype) for raw in seen.names.values()} - set(map(str, STORED_DTYPES.values())))
    if odd:
        raise CheckpointError(f"this {name} has tensors of type {', '.join(odd)}; convert it before it is quantized")
    read = state.__getitem__
    return tensors_of(vae, read, names, seen), read_statistics(read, seen, vae.latent_channels, f"this {name}")
