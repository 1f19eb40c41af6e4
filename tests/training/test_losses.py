"""Losses against closed forms, all in the one convention of `vaezoo.training.objective.losses`."""

import pytest
import torch
from support.backbones import Colors
from torch import nn
from torchmetrics.functional.image import structural_similarity_index_measure

import vaezoo
from vaezoo.evaluation.nets import lpips
from vaezoo.nn.distributions import Deterministic, Gaussian
from vaezoo.nn.vae import Output
from vaezoo.training.objective.losses import LOSSES


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


def test_chroma_sees_colour_and_not_lightness():
    grey = torch.full_like(IMAGES, 0.4)
    assert LOSSES["chroma"]()(output(grey), IMAGES).item() == pytest.approx(0, abs=1e-6)
    blue = IMAGES.index_fill(1, torch.tensor([2]), 0.5)  # Cb of blue is 0.5, its Cr -0.0813
    assert LOSSES["chroma"]()(output(blue), IMAGES).item() == pytest.approx(0.5 * (0.5 + 0.081312) / 2)


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


@pytest.fixture
def colours(monkeypatch):
    monkeypatch.setitem(lpips.BACKBONES, "alex", Colors)


def photos():
    return torch.rand(2, 3, 32, 40) * 2 - 1


def test_the_ssim_loss_is_one_minus_ssim_of_the_reference():
    a, b = photos(), photos()
    ssim = structural_similarity_index_measure((b + 1) / 2, (a + 1) / 2, data_range=1.0)
    assert LOSSES["ssim"]()(output(b), a).item() == pytest.approx(1 - ssim.item(), abs=1e-5)
    assert LOSSES["ssim"]()(output(a), a).item() == pytest.approx(0, abs=1e-6)


def test_the_ssim_loss_refuses_images_smaller_than_its_window():
    with pytest.raises(vaezoo.InputError, match="11 or more"):
        LOSSES["ssim"]()(output(torch.zeros(1, 3, 10, 64)), torch.zeros(1, 3, 10, 64))


def test_fault_lpips_without_a_gradient_is_not_here(colours):
    """The loss of the reconstruction, computed under no_grad, never reached the weights."""
    decoder = nn.Conv2d(3, 3, 1)
    LOSSES["lpips"](net="alex")(output(decoder(photos())), photos()).backward()
    assert decoder.weight.grad.abs().max() > 0


def test_lpips_weighs_the_same_at_every_resolution(colours):
    loss, a, b = LOSSES["lpips"](net="alex"), torch.full((1, 3, 32, 32), -0.5), torch.full((1, 3, 32, 32), 0.5)
    b[:, 0] = -0.5
    large = [x.repeat(2, 1, 2, 2) for x in (a, b)]
    assert loss(output(b), a).item() == pytest.approx(loss(output(large[1]), large[0]).item(), rel=1e-5)


def test_fault_log_variance_that_is_never_trained_is_not_here():
    """It is a parameter of the losses, and at the optimum equals the logarithm of the error."""
    loss = LOSSES["nll"](pixels="l1")
    optimiser = torch.optim.SGD(nn.ModuleList([loss]).parameters(), lr=0.5)
    for _ in range(100):
        optimiser.zero_grad()
        loss(output(FAULTY), IMAGES).backward()
        optimiser.step()
    assert loss.logvar.item() == pytest.approx(torch.tensor(0.25).log().item(), abs=1e-3)


def test_nll_at_log_variance_zero_is_the_error_and_lpips_together(colours):
    a, b = photos(), photos()
    expected = LOSSES["mse"]()(output(b), a) + 0.1 * LOSSES["lpips"](net="alex")(output(b), a)
    value = LOSSES["nll"](pixels="mse", perceptual=0.1, net="alex")(output(b), a)
    assert value.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_is_a_float32_scalar_under_autocast_too_and_has_a_gradient(name, colours):
    arguments = {"charbonnier": {"eps": 1e-3}, "lpips": {"net": "alex"}, "nll": {"pixels": "mse"}}.get(name, {})
    moments = torch.randn(2, 8, 4, 5, requires_grad=True)
    reconstruction = photos().requires_grad_()
    out = output(reconstruction, Gaussian(moments))
    images, loss = photos(), LOSSES[name](**arguments)
    expected = loss(out, images)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(out, images)
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
    value.backward()
    grad = moments.grad if name == "kl" else reconstruction.grad
    assert grad.isfinite().all()
    assert grad.abs().max() > 0


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("charbonnier", {"eps": 0.1}, {"eps": 0.2}),
        ("nll", {"pixels": "l1"}, {"pixels": "mse"}),
        ("nll", {"pixels": "l1"}, {"pixels": "l1", "initial": 1.0}),
        ("nll", {"pixels": "l1"}, {"pixels": "l1", "perceptual": 1.0, "net": "alex"}),
    ],
)
def test_fault_an_argument_that_is_stored_and_never_used_is_not_here(name, before, after, colours):
    out, images = output(photos()), photos()
    assert LOSSES[name](**before)(out, images) != LOSSES[name](**after)(out, images)
