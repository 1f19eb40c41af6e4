"""Losses on the bands of a pyramid, against closed forms."""

import math

import pytest
import torch

from vaezoo.errors import InputError
from vaezoo.nn.distributions import Deterministic
from vaezoo.nn.vae import Output
from vaezoo.training.objective.losses import LOSSES
from vaezoo.training.objective.pyramid_losses import pyramid

CHECKERS = ((torch.arange(32)[:, None] + torch.arange(40)) % 2 * 2.0 - 1).expand(2, 3, 32, 40)  # the filter removes it


def loss_of(name, reconstruction, images, **arguments):
    posterior = Deterministic(torch.zeros(len(images), 4, 2, 2))
    return LOSSES[name](**arguments)(Output(reconstruction, posterior, posterior.mode()), images).item()


def test_bands_halve_in_size_and_a_constant_is_in_none_of_them():
    bands, rest = pyramid(torch.full((1, 3, 33, 48), 0.7), 3, "laplacian")
    assert [tuple(band.shape[2:]) for band in bands] == [(33, 48), (17, 24), (9, 12)]
    assert max(band.abs().max() for band in bands) < 1e-6
    torch.testing.assert_close(rest, torch.full((1, 3, 5, 6), 0.7))


@pytest.mark.parametrize("levels", [1, 4])
def test_laplacian_of_an_error_in_one_band_is_its_share_of_the_bands(levels):
    images = torch.rand(2, 3, 32, 40)
    for error in (0.3 * CHECKERS, torch.full_like(images, -0.3)):  # the finest band, and the low-pass image
        assert loss_of("laplacian", images + error, images, levels=levels) == pytest.approx(
            0.3 / (levels + 1), rel=1e-4
        )


def test_contrast_sees_how_strong_detail_is_and_not_where():
    strong, weak = 0.4 * CHECKERS, 0.1 * CHECKERS
    assert loss_of("contrast", -strong, strong) == 0
    assert loss_of("laplacian", -strong, strong) > 0
    expected = (math.hypot(0.4, 0.02) - math.hypot(0.1, 0.02)) / 3
    assert loss_of("contrast", weak, strong, levels=3, eps=0.02) == pytest.approx(expected, rel=1e-4)


def test_contrast_does_not_see_brightness():
    assert loss_of("contrast", 0.4 * CHECKERS + 0.3, 0.4 * CHECKERS) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["laplacian", "contrast"])
def test_images_that_are_too_small_for_the_levels_are_refused(name):
    images = torch.zeros(1, 3, 31, 64)
    with pytest.raises(InputError, match=rf"{name}: .*4 levels take 32 pixels or more"):
        loss_of(name, images, images, levels=4)
