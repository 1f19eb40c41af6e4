"""Posteriors against torch.distributions and numbers known by hand; latent statistics in all their forms."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

import vaezoo
from vaezoo.errors import InputError, SpecError
from vaezoo.nn.distributions import LATENTS, Deterministic, Gaussian


def gaussian(scale: float = 1.0, batch: int = 3) -> Gaussian:
    return Gaussian(torch.randn(batch, 8, 5, 2) * scale)


def normal(posterior: Gaussian) -> Independent:
    return Independent(Normal(posterior.mean, posterior.std), 3)


def test_both_kinds_have_one_interface():
    names = {name for name in dir(Gaussian) if not name.startswith("_")}
    assert names == {name for name in dir(Deterministic) if not name.startswith("_")}
    assert names >= {"mean", "logvar", "std", "sample", "mode", "kl", "nll"}
    assert set(LATENTS.values()) == {Gaussian, Deterministic}


def test_mean_and_log_variance_are_the_two_halves_of_the_moments():
    posterior = Gaussian(torch.tensor([1.0, 2.0, 0.0, math.log(9)]).view(1, 4, 1, 1))
    assert posterior.mean.flatten().tolist() == [1, 2]
    assert posterior.mode().flatten().tolist() == [1, 2]
    torch.testing.assert_close(posterior.std.flatten(), torch.tensor([1.0, 3.0]))


def test_kl_to_a_standard_normal_is_half_of_mean_squared_plus_variance_minus_one_minus_log_variance():
    posterior = Gaussian(torch.tensor([[3.0, 0.0, 0.0, math.log(4)], [0.0] * 4]).view(2, 4, 1, 1))
    torch.testing.assert_close(posterior.kl(), torch.tensor([4.5 + 0.5 * (4 - 1 - math.log(4)), 0.0]))


def test_kl_and_nll_are_those_of_torch_distributions_summed_over_each_image():
    one, other = gaussian(), gaussian()
    standard = Independent(Normal(torch.zeros_like(one.mean), torch.ones_like(one.mean)), 3)
    torch.testing.assert_close(one.kl(), kl_divergence(normal(one), standard))
    torch.testing.assert_close(one.kl(other), kl_divergence(normal(one), normal(other)))
    torch.testing.assert_close(one.kl(one), torch.zeros(3))
    x = torch.randn_like(one.mean)
    torch.testing.assert_close(one.nll(x), -normal(one).log_prob(x))
    assert one.kl().shape == one.kl(other).shape == one.nll(x).shape == (3,)


def test_kl_and_nll_of_half_precision_moments_are_summed_in_fp32():
    half = Gaussian(torch.randn(2, 8, 64, 64).half())
    exact = Gaussian(half.moments.double())
    for measured, expected in [(half.kl(), exact.kl()), (half.nll(half.mean + 1), exact.nll(exact.mean + 1))]:
        assert measured.dtype == torch.float32
        torch.testing.assert_close(measured.double(), expected.double(), rtol=1e-4, atol=0)


def test_kl_and_nll_refuse_what_does_not_fit():
    with pytest.raises(InputError, match=r"another Gaussian with moments of shape \(3, 8, 5, 2\)"):
        gaussian().kl(gaussian(batch=1))
    with pytest.raises(InputError, match="another Gaussian"):
        gaussian().kl(Deterministic(torch.zeros(3, 8, 5, 2)))
    for posterior in (gaussian(), Deterministic(torch.zeros(3, 4, 5, 2))):
        with pytest.raises(InputError, match=r"latents of shape \(3, 4, 5, 2\), got \(3, 1, 5, 2\)"):
            posterior.nll(torch.zeros(3, 1, 5, 2))


def test_the_log_variance_is_clamped_and_the_moments_stay_raw():
    moments = torch.tensor([0.0, 0.0, -1000.0, 1000.0]).view(1, 4, 1, 1)
    posterior = Gaussian(moments)
    assert posterior.moments is moments
    assert posterior.logvar.flatten().tolist() == [-30, 20]
    torch.testing.assert_close(posterior.std.flatten(), torch.tensor([math.exp(-15), math.exp(10)]))
    assert posterior.kl().isfinite().all()
    assert posterior.nll(torch.ones(1, 2, 1, 1)).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_generator_makes_samples_reproducible_and_leaves_the_global_state_alone(dtype):
    posterior = Gaussian(torch.randn(2, 8, 4, 4).to(dtype))
    before = torch.get_rng_state()
    one, two, three = (posterior.sample(torch.Generator().manual_seed(seed)) for seed in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
    assert one.dtype == dtype
    assert not torch.equal(posterior.sample(), posterior.sample())


def test_samples_have_the_mean_and_the_standard_deviation_of_the_posterior():
    moments = torch.tensor([2.0, math.log(0.25)]).view(1, 2, 1, 1).expand(1, 2, 400, 400)
    z = Gaussian(moments).sample()
    assert abs(z.mean() - 2) < 0.01
    assert abs(z.std() - 0.5) < 0.01


def test_a_sample_carries_the_gradient_of_the_reparameterisation():
    moments = torch.randn(2, 8, 3, 3, requires_grad=True)
    posterior = Gaussian(moments)
    z = posterior.sample(torch.Generator().manual_seed(1))
    z.sum().backward()
    noise = ((z - posterior.mean) / posterior.std).detach()
    to_mean, to_logvar = moments.grad.chunk(2, dim=1)
    torch.testing.assert_close(to_mean, torch.ones_like(to_mean))
    torch.testing.assert_close(to_logvar, 0.5 * noise * posterior.std.detach())


def test_a_deterministic_posterior_is_a_point():
    z = torch.randn(2, 4, 3, 3)
    posterior, generator = Deterministic(z), torch.Generator().manual_seed(3)
    before = generator.get_state()
    for same in (posterior.mean, posterior.mode(), posterior.sample(), posterior.sample(generator), posterior.moments):
        assert same is z
    assert torch.equal(generator.get_state(), before)
    assert not posterior.std.any()
    assert posterior.logvar.unique().tolist() == [-30]
    assert posterior.kl().tolist() == [0, 0]
    assert posterior.kl(Deterministic(z + 1)).tolist() == [0, 0]
    other = z.clone()
    other[1, 0, 0, 0] += 1
    assert posterior.nll(other).tolist() == [0, math.inf]


Z = torch.tensor([2.0, 4.0, 6.0, 8.0]).view(1, 4, 1, 1)
STATISTICS = [
    ({"mean": (1.0, 1.0, 1.0, 2.0), "std": (1.0, 2.0, 5.0, 3.0)}, [1, 1.5, 1, 2]),
    ({"mean": (1.0, 1.0, 1.0, 2.0), "std": (1.0, 2.0, 5.0, 3.0), "scale": 0.5}, [0.5, 0.75, 0.5, 1]),
    ({"scale": 0.5}, [1, 2, 3, 4]),
    ({"scale": 0.5, "shift": 2.0}, [0, 1, 2, 3]),
]


@pytest.fixture(scope="module")
def vae():
    return vaezoo.create("vae_f8_z4_micro")


@pytest.mark.parametrize(("form", "expected"), STATISTICS)
def test_every_form_of_latent_statistics_normalises_as_it_says_and_back(vae, form, expected):
    vae.latent_stats = vaezoo.LatentStats(**form)
    torch.testing.assert_close(vae.normalize(Z).flatten(), torch.tensor(expected, dtype=torch.float32))
    torch.testing.assert_close(vae.denormalize(vae.normalize(Z)), Z)
    z = torch.randn(2, 4, 3, 5, dtype=torch.float64) * 3
    assert vae.normalize(z).dtype == torch.float64
    torch.testing.assert_close(vae.denormalize(vae.normalize(z)), z)


def test_latent_statistics_that_are_unknown_or_do_not_fit_are_an_error(vae):
    vae.latent_stats = None
    for change in (vae.normalize, vae.denormalize):
        with pytest.raises(InputError, match=r"latent statistics of vae_f8_z4_micro are not known.*latent_stats ="):
            change(Z)
    wrong = [
        *({}, {"mean": (0.0,) * 4}, {"mean": (0.0,) * 3, "std": (1.0,) * 3}, {"shift": 1.0}, {"scale": -1.0}),
        *({"mean": (0.0,) * 4, "std": (0.0,) * 4}, {"mean": (math.nan,) * 4, "std": (1.0,) * 4}, {"scale": 1e9}),
    ]
    for form in wrong:
        with pytest.raises(SpecError, match="vae_f8_z4_micro: latent_stats"):
            vae.latent_stats = vaezoo.LatentStats(**form)
    assert vae.latent_stats is None


@pytest.mark.parametrize("shape", [(4, 3, 3), (1, 1, 3, 3), (1, 8, 3, 3)])
def test_normalize_and_denormalize_refuse_latents_of_another_shape(vae, shape):
    vae.latent_stats = vaezoo.LatentStats(scale=2.0)
    for change in (vae.normalize, vae.denormalize):
        with pytest.raises(InputError, match=r"latents of shape \(B, 4, H, W\), got \("):
            change(torch.zeros(shape))


def test_packed_statistics_are_those_of_a_batch_norm_over_2x2_patches_and_lead_back(vae):
    norm = torch.nn.BatchNorm2d(16, eps=1e-4, affine=False).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0, 4)
    mean, var = norm.running_mean.tolist(), norm.running_var.tolist()
    vae.latent_stats = vaezoo.LatentStats(mean=tuple(mean), var=tuple(var), eps=1e-4, pack=2)
    z = torch.randn(2, 4, 6, 10)
    packed = z.view(2, 4, 3, 2, 5, 2).permute(0, 1, 3, 5, 2, 4).reshape(2, 16, 3, 5)  # c (i pi) (j pj) -> (c pi pj) i j
    torch.testing.assert_close(vae.normalize(z), norm(packed))
    torch.testing.assert_close(vae.denormalize(vae.normalize(z)), z)
    assert vae.size_multiple == 16
    assert vae.diffusion_shape(48, 80) == (16, 3, 5)
    with pytest.raises(InputError, match=r"multiples of 2, got \(1, 4, 3, 4\)"):
        vae.normalize(torch.zeros(1, 4, 3, 4))
    with pytest.raises(InputError, match=r"latents of shape \(B, 16, H, W\)"):
        vae.denormalize(z)
    vae.latent_stats = None
    assert vae.size_multiple == 8


@pytest.mark.parametrize(
    "form",
    [
        *({"pack": 2}, {"pack": 2, "eps": 1e-4}, {"pack": 2, "eps": 1e-4, "shift": 1.0}),
        *({"mean": (0.0,) * 4, "var": (1.0,) * 4}, {"mean": (0.0,) * 4, "var": (-1.0,) * 4, "eps": 1e-4}),
        *({"mean": (0.0,) * 4, "std": (1.0,) * 4, "pack": 2}, {"var": (1.0,) * 4, "eps": 1e-4}),
        {"mean": (0.0,) * 4, "std": (1.0,) * 4, "var": (1.0,) * 4, "eps": 1e-4},
    ],
)
def test_packed_statistics_that_are_not_whole_are_an_error(vae, form):
    with pytest.raises(vaezoo.VaezooError, match="vae_f8_z4_micro: latent_stats"):
        vae.latent_stats = vaezoo.LatentStats(**form)
