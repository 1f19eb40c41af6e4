"""`torch.jit.trace` with gradients enabled, which it repeats without them."""

import warnings

import pytest
import torch

import vaezoo


class Reconstruction(torch.nn.Module):
    """A traced module has to return tensors."""

    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, images):
        return self.vae.decode(self.vae.encode(images).mode())


@pytest.mark.parametrize("name", ["vae_f8_z4_micro", pytest.param("taesd_f8_z4", marks=pytest.mark.slow)])
def test_a_network_is_traced_while_gradients_are_enabled(name):
    module, images = Reconstruction(vaezoo.create(name)), torch.rand(1, 3, 16, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls tracing deprecated, and checks of shapes constant
        traced = torch.jit.trace(module, images, check_trace=False)  # checked below
    with torch.no_grad():
        assert torch.equal(traced(images), module(images))
