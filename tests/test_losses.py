"""Losses against closed forms, all in the one convention of `vaezoo.training.losses`."""

import pytest
import torch

from vaezoo.nn.latents import Deterministic, Gaussian
from vaezoo.nn.vae import Output
from vaezoo.training.losses import LOSSES


def output(reconstruction, posterior=None):
    posterior = posterior or Deterministic(torch.zeros(len(reconstruction), 4, 2, 2))
    return Output(reconstruction, posterior, posterior.mode())


IMAGES = torch.zeros(2, 3, 16, 16)
FAULTY = torch.zeros(2, 3, 16, 16).index_fill(0, torch.tensor([1]), 0.5)  # one image right, the other off by a half


@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        ("l1", {}, 0.25),
        ("mse", {}, 0.125),
        ("charbonnier", {"eps": 1.2}, (1.2 + 1.3) / 2),
    ],
)
def test_a_pixel_loss_is_the_mean_over_all_image_elements(name, arguments, value):
    assert LOSSES[name](**arguments)(output(FAULTY), IMAGES).item() == pytest.approx(value)


def test_kl_is_in_nats_per_image_element_whatever_the_latent():
    mean, logvar = 2.0, -1.0
    for shape in [(2, 4, 2, 2), (2, 16, 1, 1)]:
        posterior = Gaussian(torch.cat([torch.full(shape, mean), torch.full(shape, logvar)], dim=1))
        nats = 0.5 * (mean**2 + torch.tensor(logvar).exp().item() - 1 - logvar) * 16  # 16 latent values an image
        assert LOSSES["kl"]()(output(IMAGES, posterior), IMAGES).item() == pytest.approx(nats / (3 * 16 * 16))


def test_kl_of_deterministic_latents_is_zero():
    assert LOSSES["kl"]()(output(IMAGES), IMAGES) == 0


@pytest.mark.parametrize("name", ["l1", "mse"])
def test_a_loss_of_bfloat16_reconstructions_is_float32(name):
    assert LOSSES[name]()(output(FAULTY.bfloat16()), IMAGES).dtype == torch.float32


def test_the_gradient_of_the_charbonnier_loss_is_finite_at_no_error():
    reconstruction = IMAGES.clone().requires_grad_()
    LOSSES["charbonnier"](eps=1e-3)(output(reconstruction), IMAGES).backward()
    assert reconstruction.grad.isfinite().all()
