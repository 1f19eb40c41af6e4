"""Builds a VAE with random weights from its spec."""

import torch

from vaezoo.errors import SpecError
from vaezoo.nn.stack import count_params
from vaezoo.nn.vae import VAE
from vaezoo.specs.model import ModelSpec

PARAMETER_LIMIT = 4_000_000_000


def build(spec: ModelSpec, device: torch.device | str | None = None) -> VAE:
    """Build a VAE with random weights, in training mode.

    It is first built on the meta device, so that a network that is too large is refused before memory is allocated.

    Args:
        spec: The network.
        device: Device of the weights; `None` means PyTorch's default device.

    Raises:
        SpecError: If the spec cannot be built, or has more than `PARAMETER_LIMIT` parameters.
    """
    with torch.device("meta"):
        model = VAE(spec)
    params = count_params(model)
    if params > PARAMETER_LIMIT:
        name = spec.name or spec.encoder[0].location
        raise SpecError(f"{name}: {params:,} parameters; the limit is {PARAMETER_LIMIT:,}")
    device = torch.device(device) if device is not None else default_device()
    if device.type == "meta":
        return model
    with device:
        return VAE(spec)


def default_device() -> torch.device:
    """The device of new tensors; `torch.get_default_device` of PyTorch 2.6 ignores `with torch.device(…)`."""
    return torch.empty(0).device
