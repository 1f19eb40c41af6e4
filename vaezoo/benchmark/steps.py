"""The step that is measured: encoding, decoding or training a network with random weights."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from vaezoo.benchmark.case import OURS, BenchmarkCase
from vaezoo.formats.diffusers.classes import config_from_spec
from vaezoo.nn.distributions import LATENTS, Posterior
from vaezoo.nn.dtypes import DTYPES
from vaezoo.nn.vae import VAE
from vaezoo.specs.model import ModelSpec
from vaezoo.zoo.create import create


class DiffusersPeer(nn.Module):
    """The same network as diffusers' `AutoencoderKL`, with the interface of `VAE`.

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


Network = VAE | DiffusersPeer


def make_network(case: BenchmarkCase) -> Network:
    """Create the network of a case with random weights, in the mode, dtype and memory format of its step."""
    torch.manual_seed(0)
    network: Network = create(case.spec) if case.implementation == OURS else DiffusersPeer(case.spec)
    network.to(case.device)
    if case.channels_last:
        network.to(memory_format=torch.channels_last)
    return network.train() if case.what == "train" else network.eval().to(DTYPES[case.dtype])


def make_step(network: Network, case: BenchmarkCase) -> Callable[[], object]:
    """Return a function that makes one step, always with the same random batch.

    On a GPU the function may return before the step has finished.
    """
    if case.what == "train":
        from vaezoo.benchmark.training_step import training_step  # imports timm, which takes two seconds

        return training_step(network, case, random_images(network, case), random_latents(network, case))
    if case.what == "encode":
        images = random_images(network, case)
        return torch.no_grad()(lambda: network.encode(images))
    latents = random_latents(network, case)
    return torch.no_grad()(lambda: network.decode(latents))


def random_images(network: Network, case: BenchmarkCase) -> Tensor:
    """Return a batch of uniform noise in [-1, 1], in the dtype of the weights."""
    images = torch.rand(case.batch, case.spec.image.channels, case.size, case.size, device=case.device) * 2 - 1
    return _as_weights(images, network, case)


def random_latents(network: Network, case: BenchmarkCase) -> Tensor:
    """Return normal noise in the shape of the latents of a batch, in the dtype of the weights."""
    side = case.size // network.downscale
    noise = torch.randn(case.batch, network.latent_channels, side, side, device=case.device)
    return _as_weights(noise, network, case)


def warm_libraries(network: Network, case: BenchmarkCase) -> None:
    """Make a step with the smallest image and no optimizer, so that libraries load their kernels before the meter."""
    small = replace(case, size=2 * network.downscale, batch=1)
    train = case.what == "train"
    mixed = torch.autocast(torch.device(case.device).type, DTYPES[case.dtype], enabled=train and case.dtype != "fp32")
    with torch.set_grad_enabled(train), mixed:
        latents = network.encode(random_images(network, small)).mean
        result = network.decode(latents)
    if train:
        result.float().sum().backward()
        network.zero_grad(set_to_none=True)


def _as_weights(x: Tensor, network: Network, case: BenchmarkCase) -> Tensor:
    memory_format = torch.channels_last if case.channels_last else torch.contiguous_format
    return x.to(next(network.parameters()).dtype, memory_format=memory_format)
