"""A module of diffusers, in memory, as a network of the zoo."""

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
    """A VAE of diffusers, in memory, as a network of the zoo: same weights, dtype, device and mode, own tensors.

    Its `config` says the network and the latent statistics. What `as_diffusers` gave is handed back as the VAE that is
    in it. diffusers is not imported.

    Args:
        module: Such as `pipeline.vae`; it is left untouched.

    Raises:
        InputError: If it is no module with a `config`.
        SpecError: If its class or config is one that no network of the zoo can follow; the text lists the classes.
        CheckpointError: If its tensors are not those that its config stands for, are quantised, or on the meta device.
    """
    if isinstance(module, DiffusersVAE):
        return module.vae
    if not isinstance(module, nn.Module) or not isinstance(getattr(module, "config", None), Mapping):
        raise InputError(f"from_diffusers: expected a VAE of diffusers, with its config, not {type(module).__name__}")
    name = type(module).__name__
    entries = {key: value for key, value in module.config.items() if not key.startswith("_")}
    foreign = spec_from_config(from_plain({CLASS_KEY: name, **entries}, Location(f"the config of {name}")))
    vae, state = build(foreign.spec, "meta"), module.state_dict()
    if any(tensor.is_meta for tensor in state.values()):
        raise CheckpointError(f"this {name} is on the meta device, or offloaded: it has shapes but no weights")
    tensors, stored = _translated(vae, state, name)
    vae.load_state_dict(tensors, strict=True, assign=True)
    vae.latent_stats = merge_statistics(stored, foreign.stats, f"this {name}")
    return vae.train(module.training)


def _translated(vae: VAE, state: Mapping[str, Tensor], name: str) -> tuple[dict[str, Tensor], LatentStats | None]:
    """Copies of the tensors under our names, and the packed latent statistics among them."""
    header = Header({key: tuple(tensor.shape) for key, tensor in state.items()}, {}, {}, {})
    names, seen = fitting(vae, header, LAYOUT, f"this {name} has other tensors than its config stands for")
    odd = sorted({str(state[raw].dtype) for raw in seen.names.values()} - set(map(str, STORED_DTYPES.values())))
    if odd:
        raise CheckpointError(f"this {name} has tensors of type {', '.join(odd)}; take it before it is quantised")
    read = state.__getitem__
    return tensors_of(vae, read, names, seen), read_statistics(read, seen, vae.latent_channels, f"this {name}")
