"""What is measured: one encoding, decoding or training step of a network with random weights."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from vaezoo.benchmark.case import OURS, Job
from vaezoo.formats.diffusers.classes import config_from_spec
from vaezoo.nn.distributions import LATENTS, Posterior
from vaezoo.nn.dtypes import DTYPES
from vaezoo.specs.model import ModelSpec
from vaezoo.zoo.create import create


class Network(Protocol):
    """What a step asks of either implementation."""

    latent_channels: int
    downscale: int

    def encode(self, images: Tensor) -> Posterior:
        """Return the posterior of images of shape (B, 3, H, W)."""

    def decode(self, z: Tensor) -> Tensor:
        """Return the images of raw latents."""


class Peer(nn.Module):
    """The same network as diffusers' `AutoencoderKL`, with the interface of ours."""

    def __init__(self, spec: ModelSpec) -> None:
        from diffusers import AutoencoderKL

        super().__init__()
        self.model = AutoencoderKL.from_config(config_from_spec(spec))
        self.kind = LATENTS[spec.latent.kind]
        self.latent_channels = spec.latent.channels
        self.downscale = 2 ** (len(self.model.config.block_out_channels) - 1)

    def encode(self, images: Tensor) -> Posterior:
        """Return the posterior of images of shape (B, 3, H, W)."""
        return self.kind(self.model.encode(images).latent_dist.parameters)

    def decode(self, z: Tensor) -> Tensor:
        """Return the images of raw latents."""
        return self.model.decode(z).sample


def make_network(job: Job) -> nn.Module:
    """The network with random weights, ready for its step."""
    torch.manual_seed(0)
    network = (create(job.spec) if job.implementation == OURS else Peer(job.spec)).to(job.device)
    if job.channels_last:
        network.to(memory_format=torch.channels_last)
    return network.train() if job.what == "train" else network.eval().to(DTYPES[job.dtype])


def make_step(network: Network, job: Job) -> Callable[[], object]:
    """A function that makes one step with the same random batch every time.

    A GPU may not have finished when it returns.
    """
    if job.what == "train":
        from vaezoo.benchmark.training_step import training_step  # needs timm, which takes two seconds to import

        return training_step(network, job, images_of(network, job), latents_of(network, job))
    encode = job.what == "encode"
    function, x = (network.encode, images_of(network, job)) if encode else (network.decode, latents_of(network, job))
    return torch.no_grad()(lambda: function(x))


def images_of(network: Network, job: Job) -> Tensor:
    """A batch of noise in [-1, 1], in the dtype of the weights."""
    images = torch.rand(job.batch, job.spec.image.channels, job.size, job.size, device=job.device) * 2 - 1
    return _formatted(images, network, job)


def latents_of(network: Network, job: Job) -> Tensor:
    """Normal noise of the shape of that batch's latents."""
    side = job.size // network.downscale
    return _formatted(torch.randn(job.batch, network.latent_channels, side, side, device=job.device), network, job)


def warm_libraries(network: nn.Module, job: Job) -> None:
    """Make a step with the smallest image, without an optimiser, so that what libraries load is not counted later."""
    small = replace(job, size=2 * network.downscale, batch=1)
    mixed = torch.autocast(
        torch.device(job.device).type, DTYPES[job.dtype], enabled=job.what == "train" and job.dtype != "fp32"
    )
    with torch.set_grad_enabled(job.what == "train"), mixed:
        latents = network.encode(images_of(network, small)).mean
        result = network.decode(latents)
    if job.what == "train":
        result.float().sum().backward()
        network.zero_grad(set_to_none=True)


def _formatted(x: Tensor, network: nn.Module, job: Job) -> Tensor:
    memory_format = torch.channels_last if job.channels_last else torch.contiguous_format
    return x.to(next(network.parameters()).dtype, memory_format=memory_format)
