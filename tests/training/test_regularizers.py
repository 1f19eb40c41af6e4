"""Regularisers of latents against closed forms, and their gradients."""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy.fft import dctn
from torch import nn

import vaezoo
from vaezoo.evaluation.nets import lpips
from vaezoo.nn.distributions import Deterministic
from vaezoo.nn.vae import Output
from vaezoo.training.objective.regularizers import REGULARIZERS


class Pooling:
    """A VAE by hand: latents are means of 2x2 pixels times `gain`, images repeat them. It commutes with turns."""

    downscale = 2

    def __init__(self, offset=0.0):
        self.offset = offset
        self.sizes = []

    def __call__(self, images):
        z = F.avg_pool2d(images, 2)
        return Output(self.decode(z), Deterministic(z), z)

    def decode(self, z):
        self.sizes.append(tuple(z.shape[2:]))
        return z.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3) + self.offset


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def ramp(height=32, width=48):
    """A horizontal and vertical ramp: shrinking it by any factor gives a ramp."""
    return (torch.linspace(-1, 1, height).view(-1, 1) + torch.linspace(-0.5, 0.5, width)).expand(2, 3, -1, -1) / 2


def small(name, **arguments):
    extra = {"alignment": {"model": "test_vit", "size": 64, "pretrained": False}}.get(name, {})
    return REGULARIZERS[name](4, **{**extra, **arguments})


@pytest.mark.parametrize("name", ["equivariance", "scale_equivariance"])
def test_a_vae_that_only_adds_a_constant_is_off_by_that_constant(name):
    images, vae = torch.full((2, 3, 32, 48), 0.25), Pooling(offset=0.125)
    for seed in range(8):
        share = {"share": 1.0} if name == "equivariance" else {}
        value = small(name, **share)(vae, vae(images), images, generator(seed))
        assert value.item() == pytest.approx(0.125, abs=1e-6)
    assert len(set(vae.sizes)) > 2


def test_latents_that_do_not_turn_with_the_image_are_found_out():
    images, vae = ramp(32, 32), Pooling()
    out = vae(images)
    turned = Output(out.reconstruction, out.posterior, out.latents.rot90(1, dims=(2, 3)))
    loss = small("equivariance", share=1.0, smallest=1.0)
    assert loss(vae, out, images, generator()) < 0.05 < 0.2 < loss(vae, turned, images, generator())


def test_the_scale_is_drawn_from_the_smallest_to_one_and_the_image_follows_the_latents():
    images, vae = ramp(128, 128), Pooling()
    loss = small("equivariance", share=1.0, turn=False)
    values = [loss(vae, vae(images), images, generator(seed)).item() for seed in range(40)]
    sides = [size[0] for size in vae.sizes[1::2]]
    assert 16 <= min(sides) < 22
    assert 58 < max(sides) <= 64
    assert max(values) < 0.02


@pytest.mark.parametrize("turn", [True, False])
def test_latents_are_turned_where_turns_are_asked_for(turn):
    images, vae = ramp(), Pooling()
    out, loss = vae(images), small("equivariance", share=1.0, turn=turn)
    vae.sizes.clear()
    for seed in range(12):
        loss(vae, out, images, generator(seed))
    assert any(height > width for height, width in vae.sizes) == turn


def test_a_share_of_the_steps_is_regularised_and_the_others_cost_nothing():
    images, vae = ramp(), Pooling()
    out, loss = vae(images), small("equivariance", share=0.25)
    vae.sizes.clear()
    for seed in range(200):
        loss(vae, out, images, generator(seed))
    assert 30 < len(vae.sizes) < 70


def test_fault_a_transform_drawn_anew_for_each_rank_and_optimiser_is_not_here():
    images, vae = ramp(), Pooling()
    out, loss = vae(images), small("equivariance", share=1.0)
    vae.sizes.clear()
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        loss(vae, out, images, generator(7))
    assert vae.sizes[0] == vae.sizes[1]
    loss(vae, out, images, generator(8))
    assert vae.sizes[2] != vae.sizes[0]


def test_lpips_of_a_change_sees_as_many_pixels_as_it_needs(monkeypatch):
    channels = (64, 192, 384, 256, 256)
    network = nn.Module()
    network.forward = lambda x: [x.mean(dim=1, keepdim=True).expand(-1, c, -1, -1) for c in channels]
    monkeypatch.setitem(lpips.BACKBONES, "alex", lambda: network)
    images, vae = ramp(64, 64), Pooling(offset=0.5)
    loss = small("scale_equivariance", factors=(4,), perceptual=1.0, net="alex")
    loss(vae, vae(images), images, generator())
    assert vae.sizes[-1] == (16, 16)  # 32 pixels, not 16


def test_aligned_latents_cost_nothing_and_opposed_ones_all():
    loss = small("alignment", cosine_margin=0.0, distance_margin=0.0)
    seen = torch.randn(2, 5, 3, 4)
    assert loss.distance(3 * seen, seen).item() == pytest.approx(0, abs=1e-5)
    assert loss.distance(-seen, seen).item() == pytest.approx(2, abs=1e-5)  # angles between positions are the same


def test_margins_forgive_what_they_say():
    axes = torch.eye(2).view(1, 2, 1, 2)  # two positions at a right angle
    same = torch.ones(1, 2, 1, 2) / math.sqrt(2)  # two positions in one direction, 45 degrees from both
    strict, lenient = (
        small("alignment", cosine_margin=c, distance_margin=d, cosine_weight=2.0, distance_weight=3.0)
        for c, d in ((0.0, 0.0), (0.1, 0.25))
    )
    cosine, angles = 1 - math.sqrt(0.5), (0 + 1 + 1 + 0) / 4
    assert strict.distance(same, axes).item() == pytest.approx(2 * cosine + 3 * angles)
    assert lenient.distance(same, axes).item() == pytest.approx(2 * (cosine - 0.1) + 3 * (0.75 + 0.75) / 4)


def test_fault_alignment_at_one_size_and_without_mean_and_std_is_not_here():
    """The vision model sees every image at its own size, normalised, and its grid is brought to the latents'."""
    loss = small("alignment", model="vit_small_patch14_dinov2", size=56)  # of ImageNet's mean and standard deviation
    seen = []
    loss.features.network.forward_intermediates = lambda x, **_: seen.append(x) or [torch.randn(len(x), 384, 4, 4)]
    for height, width, downscale in ((96, 64, 8), (64, 64, 16), (256, 256, 8)):
        z = torch.randn(2, 4, height // downscale, width // downscale)
        out = Output(None, Deterministic(z), z)
        assert loss(None, out, torch.full((2, 3, height, width), -1.0), generator()).isfinite()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    assert all(x.shape == (2, 3, 56, 56) for x in seen)
    assert torch.allclose(seen[0][0, :, 9, 9], -mean / std, atol=1e-5)


def test_the_projection_is_trained_and_the_vision_model_is_not():
    loss = small("alignment")
    assert [name for name, _ in loss.named_parameters()] == ["project.weight"]
    assert list(loss.state_dict()) == ["project.weight"]


def test_latents_that_are_the_image_have_its_spectrum():
    z = torch.rand(2, 3, 16, 24) * 2 - 1
    out = Output(None, Deterministic(z), z)
    assert small("spectrum", delta=0.0)(None, out, z, generator()).item() == pytest.approx(0, abs=1e-6)
    assert small("spectrum", delta=1.0)(None, out, z, generator()).item() > 1e-3


def test_the_spectrum_loss_is_that_of_an_independent_dct():
    images, z, bands = torch.rand(1, 3, 8, 8) * 2 - 1, torch.randn(1, 4, 8, 8), 4
    shares = []
    for x, delta in ((images, 0.5), (z, 0.0)):
        power = (dctn(x[0].double().numpy(), axes=(1, 2), norm="ortho") ** 2).mean(axis=0)
        sums, counts = [0.0] * bands, [0] * bands
        for i in range(8):
            for j in range(8):
                band = min(int(math.hypot(i, j) / math.hypot(7, 7) * bands), bands - 1)
                sums[band] += power[i, j] if i + j else 0.0
                counts[band] += 1
        logs = [math.log1p(s / n * (k + 1) ** delta) for k, (s, n) in enumerate(zip(sums, counts, strict=True))]
        shares.append([value / sum(logs) for value in logs])
    expected = sum(p * math.log(p / q) for p, q in zip(*shares, strict=True))
    found = small("spectrum", bands=bands, delta=0.5)(None, Output(None, Deterministic(z), z), images, generator())
    assert found.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", sorted(REGULARIZERS))
def test_every_regulariser_is_a_float32_scalar_whose_gradient_reaches_the_encoder(name):
    vae = vaezoo.create("vae_f8_z4_micro").train()
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    share = {"share": 1.0} if name == "equivariance" else {}
    with torch.autocast("cpu", torch.bfloat16):
        value = small(name, **share)(vae, vae(images), images, generator())
    assert value.shape == ()
    assert value.dtype == torch.float32
    value.backward()
    grad = next(vae.encoder.parameters()).grad
    assert grad.isfinite().all()
    assert grad.abs().max() > 0
    decodes = name in ("equivariance", "scale_equivariance")
    assert decodes == (next(vae.decoder.parameters()).grad is not None)


@pytest.mark.parametrize("name", ["alignment", "spectrum"])
def test_the_gradient_at_zero_latents_is_finite(name):
    z = torch.zeros(2, 4, 4, 4, requires_grad=True)
    small(name)(None, Output(None, Deterministic(z), z), torch.rand(2, 3, 32, 32), generator()).backward()
    assert z.grad.isfinite().all()


def test_a_few_steps_bring_the_spectrum_to_the_image_s():
    images, z = (
        F.interpolate(torch.randn(2, 3, 4, 4), 64, mode="bicubic"),
        torch.randn(2, 4, 16, 16, requires_grad=True),
    )
    loss, optimiser = small("spectrum", delta=0.0), torch.optim.Adam([z], lr=0.05)
    values = []
    for _ in range(60):
        values.append(loss(None, Output(None, Deterministic(z), z), images, generator()))
        optimiser.zero_grad()
        values[-1].backward()
        optimiser.step()
    assert values[-1] < 0.3 * values[0]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("equivariance", {"share": 0.0}),
        ("equivariance", {"smallest": 0.9}),
        ("scale_equivariance", {"factors": (8,)}),
        ("alignment", {"layer": 0}),
        ("alignment", {"size": 96}),
        ("alignment", {"cosine_margin": 0.0}),
        ("alignment", {"distance_margin": 0.0}),
        ("alignment", {"cosine_weight": 2.0}),
        ("alignment", {"distance_weight": 2.0}),
        ("spectrum", {"bands": 5}),
        ("spectrum", {"delta": 0.0}),
    ],
)
def test_fault_an_argument_that_is_stored_and_never_used_is_not_here(name, change):
    images, z = ramp(64, 64) + 0.1 * torch.randn(2, 3, 64, 64), torch.randn(2, 4, 32, 32)
    vae = Pooling()
    out = vae(images) if "equivariance" in name else Output(None, Deterministic(z), z)
    fixed = {"equivariance": {"share": 1.0}, "alignment": {"distance_margin": 0.01}}.get(name, {})
    values = []
    for extra in ({}, change):
        torch.manual_seed(0)  # the networks' weights
        values.append(small(name, **{**fixed, **extra})(vae, out, images, generator()).item())
    assert values[0] != values[1]
