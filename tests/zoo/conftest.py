"""Fixtures of the tests of names, files and networks."""

import pytest
import torch
from safetensors.torch import save_file
from support.small import same_weights, small_vae, write_small

import vaezoo


@pytest.fixture(scope="session")
def small_kl() -> vaezoo.VAE:
    """A small kl-f8, which no test may change."""
    return small_vae("ldm_f8_z4")


@pytest.fixture
def kl(tmp_path, small_kl):
    """A small kl-f8, its YAML file, and a function that loads tensors as it."""
    vae, network = small_kl, write_small("ldm_f8_z4", tmp_path)

    def load(tensors: dict[str, torch.Tensor], layout: str = "auto") -> vaezoo.VAE:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "x.safetensors")
        return vaezoo.create(f"file:{tmp_path}/x.safetensors", network=network, layout=layout)

    def same(again: vaezoo.VAE) -> bool:
        return same_weights(again, vae)

    return vae, load, same
