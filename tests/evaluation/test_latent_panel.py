"""The latent panel: each figure where it is known by hand."""

import math

import pytest
import scipy.fft
import scipy.stats
import torch

import vaezoo
from vaezoo.errors import InputError
from vaezoo.evaluation.latents.channels import ChannelStats, PosteriorStats
from vaezoo.evaluation.latents.equivariance import equivariance, halved, rotated
from vaezoo.evaluation.latents.neighbors import knn_consistency, nearest
from vaezoo.evaluation.latents.spectrum import Spectrum, dct
from vaezoo.evaluation.metrics.flat import flat_probe, off_mean_share
from vaezoo.nn.distributions import Deterministic, Gaussian


def stats_of(*batches: torch.Tensor) -> ChannelStats:
    stats = ChannelStats()
    for batch in batches:
        stats.add(batch)
    return stats


def test_channel_statistics_are_those_of_scipy_over_all_values_together():
    batches = [torch.distributions.Gamma(2.0, 0.5).sample((b, 4, 3, 5)) * 7 + 100 for b in (1, 3, 2)]
    stats = stats_of(*batches)
    together = torch.cat(batches).double().movedim(1, 0).flatten(1)
    torch.testing.assert_close(stats.mean(), together.mean(dim=1))
    torch.testing.assert_close(stats.std(), together.std(dim=1, correction=0))
    torch.testing.assert_close(stats.absmax(), together.abs().amax(dim=1))
    assert stats.skew().tolist() == pytest.approx(scipy.stats.skew(together.numpy(), axis=1).tolist(), abs=1e-6)
    assert stats.kurtosis().tolist() == pytest.approx(scipy.stats.kurtosis(together.numpy(), axis=1).tolist(), abs=1e-6)
    torch.testing.assert_close(stats.correlation(), torch.corrcoef(together))


def test_merged_channel_statistics_are_those_of_both_streams():
    a, b = torch.randn(2, 3, 4, 4), torch.randn(5, 3, 4, 4) + 1
    merged = ChannelStats()
    for part in (stats_of(a), ChannelStats(), stats_of(b)):
        merged.merge(part)
    whole = stats_of(a, b)
    for name in ("mean", "std", "skew", "kurtosis", "absmax", "correlation"):
        torch.testing.assert_close(getattr(merged, name)(), getattr(whole, name)())


def test_a_two_valued_channel_has_skew_0_and_kurtosis_minus_2_and_a_mirrored_one_correlates_with_minus_1():
    x = torch.tensor([1.0, -1.0]).repeat(8).view(1, 1, 4, 4)
    stats = stats_of(torch.cat([x, -3 * x], dim=1))
    assert stats.skew().tolist() == pytest.approx([0, 0])
    assert stats.kurtosis().tolist() == pytest.approx([-2, -2])
    assert stats.correlation()[0, 1].item() == pytest.approx(-1)


def test_active_units_are_the_channels_that_vary():
    scales = torch.tensor([0.0, 0.09, 0.11, 5.0]).view(1, 4, 1, 1)
    x = torch.tensor([1.0, -1.0]).repeat(8).view(1, 1, 4, 4) * scales + 2
    assert stats_of(x).active_units() == 2


def test_kl_per_channel_is_in_nats_per_latent_value():
    mean = torch.tensor([0.0, 2.0, 0.0]).view(1, 3, 1, 1).expand(2, 3, 2, 2)
    std = torch.tensor([1.0, 1.0, 0.5]).view(1, 3, 1, 1).expand(2, 3, 2, 2)
    posterior = Gaussian(torch.cat([mean, 2 * std.log()], dim=1))
    stats, whole = PosteriorStats(), PosteriorStats()
    stats.add(posterior)
    whole.merge(stats)
    whole.merge(stats)
    expected = [0, 2, 0.5 * (0.25 - 1) + math.log(2)]
    assert whole.kl().tolist() == pytest.approx(expected, abs=1e-6)
    assert whole.std().tolist() == pytest.approx([1, 1, 0.5])
    assert posterior.kl().tolist() == pytest.approx([4 * sum(expected)] * 2, abs=1e-5)


def test_a_point_has_no_kl_divergence():
    stats = PosteriorStats()
    stats.add(Deterministic(torch.zeros(1, 2, 2, 2)))
    assert stats.kl() is None
    assert stats.std().tolist() == [0, 0]


def spectrum_of(*batches: torch.Tensor) -> Spectrum:
    spectrum = Spectrum()
    for batch in batches:
        spectrum.add(batch)
    return spectrum


def inverse_dct(coefficients: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(scipy.fft.idctn(coefficients.numpy(), axes=(-2, -1), norm="ortho"))


def test_dct_is_that_of_scipy():
    x = torch.randn(2, 3, 6, 9, dtype=torch.float64)
    torch.testing.assert_close(dct(x), torch.from_numpy(scipy.fft.dctn(x.numpy(), axes=(-2, -1), norm="ortho")))


@pytest.mark.parametrize("exponent", [0.0, -1.0, -2.5])
def test_spectrum_slope_finds_the_exponent_of_a_power_law(exponent):
    radius = torch.hypot(torch.arange(16.0).view(-1, 1), torch.arange(16.0)).round().double()
    coefficients = radius.clamp(min=1) ** (exponent / 2)
    spectrum = spectrum_of(inverse_dct(coefficients).view(1, 1, 16, 16).repeat(2, 3, 1, 1) * torch.rand(2, 3, 1, 1))
    assert spectrum.slope() == pytest.approx(exponent, abs=1e-6)


def test_high_share_is_the_power_of_high_frequencies_and_leaves_the_mean_out():
    coefficients = torch.zeros(1, 2, 8, 8, dtype=torch.float64)
    coefficients[:, 0, 0, 0] = 100  # the mean
    coefficients[:, 0, 1, 0], coefficients[:, 0, 4, 0] = 3, 1  # frequencies 1/8 and 1/2
    coefficients[:, 1, 0, 7] = 0.01  # a weak channel weighs as much as a strong one
    x = inverse_dct(coefficients)
    assert spectrum_of(x, x).high_share() == pytest.approx((0.1 + 1) / 2)
    merged = Spectrum()
    for part in (spectrum_of(x), Spectrum(), spectrum_of(x)):
        merged.merge(part)
    assert merged.high_share() == pytest.approx(0.55)


def test_spectrum_of_a_tiny_latent_has_no_slope_and_sizes_must_agree():
    assert math.isnan(spectrum_of(torch.randn(1, 2, 2, 2)).slope())
    with pytest.raises(InputError, match="resize the images to one size"):
        spectrum_of(torch.randn(1, 2, 4, 4), torch.randn(1, 2, 4, 8))


class Mean2x2:
    """A model whose latents are means of 2x2 pixels, plus an image-independent pattern; its decoder repeats pixels."""

    device, dtype, size_multiple = torch.device("cpu"), torch.float32, 2

    def __init__(self, pattern: float = 0.0, texture: float = 0.0):
        self.pattern, self.texture = pattern, texture

    def encode(self, images):
        z = torch.nn.functional.avg_pool2d(images, 2)
        return Deterministic(z + self.pattern * torch.arange(z.shape[3], dtype=torch.float32))

    def decode(self, z):
        x = z.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return x + self.texture * torch.tensor([1.0, -1.0]).repeat(x.shape[3] // 2)


def test_latents_that_turn_with_their_image_have_no_error_and_others_do():
    images = torch.rand(2, 3, 8, 8).repeat_interleave(2, 2).repeat_interleave(2, 3) * 2 - 1
    vae = Mean2x2()
    result = equivariance(vae, images, vae.encode(images).mode(), rotated)
    assert result.error.tolist() == pytest.approx([0, 0], abs=1e-6)
    assert (result.psnr > 100).all()
    other = Mean2x2(pattern=0.5)
    z = other.encode(images).mode()
    expected = (other.encode(rotated(images)).mode() - rotated(z)).flatten(1).norm(dim=1) / z.flatten(1).norm(dim=1)
    assert equivariance(other, images, z, rotated).error.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert (expected > 0.1).all()


def test_halved_flat_images_keep_their_latents():
    images = torch.full((1, 3, 16, 16), 0.3)
    vae = Mean2x2()
    assert halved(images).shape == (1, 3, 8, 8)
    assert equivariance(vae, images, vae.encode(images).mode(), halved).error.item() == pytest.approx(0, abs=1e-6)


def test_a_quarter_turn_is_counterclockwise():
    assert rotated(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).flatten().tolist() == [2, 4, 1, 3]


def test_the_flat_probe_finds_nothing_in_a_perfect_model_and_texture_in_another():
    assert flat_probe(Mean2x2(), 8) == pytest.approx((0, 0), abs=1e-5)
    largest, share = flat_probe(Mean2x2(texture=0.1), 8)
    assert largest == pytest.approx(12.75, abs=1e-3)
    assert share > 0.5


def test_off_mean_share_is_that_of_the_fourier_spectrum():
    error = torch.randn(3, 3, 6, 8, dtype=torch.float64) + torch.tensor([0.0, 1.0, -3.0]).view(3, 1, 1, 1)
    power = torch.fft.fft2(error).abs().square()
    expected = 1 - power[:, :, 0, 0].sum(dim=1) / power.sum(dim=(1, 2, 3))
    torch.testing.assert_close(off_mean_share(error), expected)
    assert off_mean_share(torch.zeros(1, 3, 2, 2)).item() == 0
    assert off_mean_share(torch.ones(1, 3, 2, 2)).item() == pytest.approx(0)


def test_nearest_goes_by_angle_and_skips_the_row_itself():
    bank = torch.tensor([[1.0, 0.0], [5.0, 5.0], [0.0, 1.0], [-1.0, 0.0]])
    assert nearest(torch.tensor([[9.0, 1.0]]), bank, 4).tolist() == [[0, 1, 2, 3]]
    assert nearest(bank, bank, 1, skip_self=True)[:2].tolist() in ([[1], [0]], [[1], [2]])
    with pytest.raises(InputError, match="4 neighbors among 3"):
        nearest(bank, bank, 4, skip_self=True)
    with pytest.raises(InputError, match=r"\(N, D\)"):
        nearest(bank, bank[:, :1], 1)


def test_neighbors_are_the_same_however_many_rows_are_looked_at_together(monkeypatch):
    bank = torch.randn(37, 5)
    whole = nearest(bank, bank, 3, skip_self=True)
    monkeypatch.setattr("vaezoo.evaluation.latents.neighbors.CHUNK", 4)
    assert torch.equal(nearest(bank, bank, 3, skip_self=True), whole)
    assert not (whole == torch.arange(37).view(-1, 1)).any()


def test_knn_consistency_is_1_for_a_rotated_view_and_near_chance_for_noise():
    x = torch.randn(200, 8, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64)).Q
    assert knn_consistency(x, 3 * x @ rotation + 1, k=5) == 1
    assert knn_consistency(x, torch.randn(200, 6), k=10) == pytest.approx(10 / 199, abs=0.02)
    with pytest.raises(InputError, match="one of each per image"):
        knn_consistency(x, x[:5])


def test_a_real_model_goes_through_every_probe():
    vae = vaezoo.create("vae_f8_z4_micro")
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        z = vae.encode(images).mode()
        for change in (rotated, halved):
            result = equivariance(vae, images, z, change)
            assert result.error.shape == result.psnr.shape == (2,)
            assert (result.error > 0).all()
    assert all(math.isfinite(value) for value in flat_probe(vae, 16))
