"""The step that is measured: encoding, decoding, both, or training, of a network with random weights."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from vaezoo.benchmark.case import BenchmarkCase
from vaezoo.benchmark.peers import DIFFUSERS, DOCUMENTED, OURS, DiffusersPeer, DocumentedPeer
from vaezoo.inference.optimize import optimize
from vaezoo.nn.dtypes import DTYPES
from vaezoo.nn.vae import VAE
from vaezoo.specs.model import ModelSpec
from vaezoo.zoo.create import create

Network = VAE | DiffusersPeer | DocumentedPeer
NETWORKS: dict[str, Callable[[ModelSpec], Network]] = {
    OURS: create,
    DIFFUSERS: DiffusersPeer,
    DOCUMENTED: DocumentedPeer,
}


def make_network(case: BenchmarkCase) -> Network:
    """Create the network of a case with random weights, in the mode, dtype and memory format of its step."""
    torch.manual_seed(0)
    if case.fast or case.tile is not None:
        return _optimized(create(case.spec, device=case.device), case)
    network = NETWORKS[case.implementation](case.spec)
    network.to(case.device)
    if case.channels_last:
        network.to(memory_format=torch.channels_last)
    return network.train() if case.what == "train" else network.eval().to(DTYPES[case.dtype])


def _optimized(vae: VAE, case: BenchmarkCase) -> VAE:
    """Optimize a VAE as the commands do for `--fast` and `--tile`, in the dtype and memory format of the case."""
    memory_format = "channels_last" if case.channels_last else "contiguous"
    tile = cast(Any, case.tile)  # "auto" among its strings, as the case was checked
    return optimize(vae, case.dtype, memory_format, fuse=case.fast, tile=tile, keep_memory=case.keep_memory)


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
    if case.what == "reconstruct":
        images = random_images(network, case)
        return torch.no_grad()(lambda: network.decode(network.encode(images).mode()))
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
