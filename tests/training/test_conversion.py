"""Converted weights do what the published ones did: the total, and its gradient, differ by one factor only."""

import pytest
import torch
from support.conversion import error_weight, kl_weight, ratio_limit

from vaezoo.nn.distributions import Gaussian
from vaezoo.nn.vae import Output
from vaezoo.training.objective.adversary import balance
from vaezoo.training.objective.losses import LOSSES

ELEMENTS, LATENTS = 3 * 16 * 16, 4 * 2 * 2


@pytest.fixture
def batch():
    posterior = Gaussian(torch.randn(5, 8, 2, 2))
    out = Output(torch.rand(5, 3, 16, 16) * 2 - 1, posterior, posterior.mode())
    return out, torch.rand(5, 3, 16, 16) * 2 - 1


@pytest.mark.parametrize("error", ["sum", "mean"])
@pytest.mark.parametrize("kl", ["sum", "mean"])
def test_fault_one_kl_weight_for_two_reductions_is_not_here(batch, error, kl):
    out, images = batch
    pixels, nats = (out.reconstruction - images).abs().flatten(1), out.posterior.kl()
    theirs = (pixels.sum(dim=1) if error == "sum" else pixels.mean(dim=1)).mean()
    theirs = theirs + 0.3 * (nats if kl == "sum" else nats / LATENTS).mean()
    weight = kl_weight(0.3, error=error, kl=kl, elements=ELEMENTS, latents=LATENTS)
    ours = LOSSES["l1"]()(out, images) + weight * LOSSES["kl"]()(out, images)
    assert theirs.item() == pytest.approx((ELEMENTS if error == "sum" else 1) * ours.item(), rel=1e-5)


def test_ldm_s_weight_stays_and_that_of_means_is_196608_times_as_heavy_at_256():
    sizes = {"elements": 3 * 256 * 256, "latents": 4 * 32 * 32}
    assert kl_weight(1e-6, error="sum", kl="sum", **sizes) == 1e-6
    assert kl_weight(1e-6, error="mean", kl="sum", **sizes) == pytest.approx(0.196608)


@pytest.mark.parametrize(("name", "power"), [("l1", 1), ("mse", 2)])
def test_errors_of_images_from_zero_to_one_count_less(batch, name, power):
    out, images = batch
    halved = out._replace(reconstruction=out.reconstruction / 2)  # as differences of images in [0, 1] are
    theirs = 0.7 * LOSSES[name]()(halved, images / 2)
    ours = error_weight(0.7, power=power, span=1) * LOSSES[name]()(out, images)
    assert theirs.item() == pytest.approx(ours.item())


def test_the_limit_of_an_adaptive_weight_binds_where_it_bound():
    weight = torch.nn.Parameter(torch.ones(ELEMENTS))
    other = 1e-3 * weight.sum()
    summed = balance(weight.sum(), other, weight, 500.0) * other / ELEMENTS
    ours = balance(weight.mean(), other, weight, ratio_limit(500.0, error="sum", elements=ELEMENTS)) * other
    assert summed.item() == pytest.approx(ours.item())
    assert ratio_limit(500.0, error="mean", elements=ELEMENTS) == 500
