"""The same network in other implementations, with the interface of `VAE`."""

import importlib.util

import torch
from torch import Tensor, nn

from vaezoo.benchmark.documented_vae import DocumentedVAE
from vaezoo.errors import CheckpointError, InputError
from vaezoo.formats.diffusers.classes import config_from_spec
from vaezoo.formats.layouts import LAYOUTS
from vaezoo.nn.build import build
from vaezoo.nn.distributions import LATENTS, Posterior
from vaezoo.specs.model import ModelSpec

OURS, DIFFUSERS, DOCUMENTED = "vaezoo", "diffusers", "documented"
PEERS = (DIFFUSERS, DOCUMENTED)


class DiffusersPeer(nn.Module):
    """The network as diffusers' `AutoencoderKL`.

    Args:
        spec: Network that `AutoencoderKL` supports.
    """

    def __init__(self, spec: ModelSpec) -> None:
        from diffusers import AutoencoderKL

        super().__init__()
        self.model = AutoencoderKL.from_config(config_from_spec(spec))
        self.kind = LATENTS[spec.latent.kind]
        self.latent_channels = spec.latent.channels
        self.downscale: int = 2 ** (len(self.model.config.block_out_channels) - 1)

    def encode(self, images: Tensor) -> Posterior:
        """Encode images (B, C, H, W) in [-1, 1] to the posterior of their latents."""
        return self.kind(self.model.encode(images).latent_dist.parameters)

    def decode(self, z: Tensor) -> Tensor:
        """Decode latents (B, z, h, w) to images."""
        images: Tensor = self.model.decode(z).sample
        return images


class DocumentedPeer(nn.Module):
    """The network as `DocumentedVAE`.

    Args:
        spec: Network of the layout `documented` whose blocks have the same number of layers and heads.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.model = documented(spec)
        self.kind = LATENTS[spec.latent.kind]
        self.latent_channels = spec.latent.channels
        self.downscale = build(spec, "meta").downscale

    def encode(self, images: Tensor) -> Posterior:
        """Encode images (B, C, H, W) in [-1, 1] to the posterior of their latents."""
        return self.kind(self.model.encode(images))

    def decode(self, z: Tensor) -> Tensor:
        """Decode latents (B, z, h, w) to images."""
        return self.model.decode(z)


def documented(spec: ModelSpec) -> DocumentedVAE:
    """Create the `DocumentedVAE` of a network, with random weights.

    Raises:
        CheckpointError: If the layout `documented` cannot represent the network.
        InputError: If `DocumentedVAE` has no arguments for it: its decoder mirrors the encoder, and all blocks have the
            same number of layers and heads.
    """
    down, mid = ([row.arguments for row in spec.encoder if row.block == block] for block in ("down", "mid"))
    shapes = {name: tuple(x.shape) for name, x in build(spec, "meta").state_dict().items()}
    translated = LAYOUTS[DOCUMENTED].tensor_names(spec, shapes)
    channels = [spec.encoder[0].arguments["out"], *(row["out"] for row in down)]
    made = DocumentedVAE(
        channels,
        [channels[-1], *(row["out"] for row in mid)],
        spec.latent.channels,
        mid[0]["heads"],
        mid[0]["layers"],
        mid[0]["groups"],
        [row["resample"] is not None for row in down],
        spec.image.channels,
    )
    for key in ("heads", "groups"):  # which names and shapes do not show
        if len({row.arguments[key] for row in (*spec.encoder, *spec.decoder) if key in row.arguments}) > 1:
            raise InputError(f"{spec.label}: its rows have different {key}, which the documented network does not have")
    if {x.names[0]: x.shape for x in translated} != {name: tuple(x.shape) for name, x in made.state_dict().items()}:
        raise InputError(f"{spec.label}: its blocks have different layers, or the decoder does not mirror the encoder")
    return made


def check_peer(spec: ModelSpec, peer: str) -> None:
    """Raise `InputError` unless a peer is installed and has the network."""
    if peer == DOCUMENTED:
        try:
            with torch.device("meta"):
                documented(spec)
        except (CheckpointError, InputError) as error:
            raise InputError(f"the peer documented is another network ({error}); measure without it") from error
        return
    if importlib.util.find_spec(DIFFUSERS) is None:
        raise InputError("the peer diffusers is not installed; pip install diffusers, or measure without a peer")
    try:
        kind = config_from_spec(spec)["_class_name"]
    except CheckpointError:
        kind = "none of its classes"
    if kind != "AutoencoderKL":
        raise InputError(
            f"{spec.label}: the peer is diffusers' AutoencoderKL, and this network is {kind}; measure it without a peer"
        )
