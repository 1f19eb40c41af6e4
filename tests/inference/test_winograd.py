"""Convolutions by Winograd's minimal filtering: the result of the convolution, as accurately."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vaezoo
from vaezoo.inference.optimize import optimize
from vaezoo.inference.strips import winograd
from vaezoo.inference.strips.nodes import of_tensor
from vaezoo.inference.strips.rows import Rows
from vaezoo.inference.strips.strip_run import Plan, Run
from vaezoo.nn.resamplers.upsamplers import upsample_nearest


def layer(into, out):
    torch.manual_seed(0)
    return torch.randn(out, into, 3, 3) / (9 * into) ** 0.5, torch.randn(out)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 10), (4, 5), (33, 3), (5, 530)])
@pytest.mark.parametrize(("rows", "columns"), [((1, 1), 1), ((0, 1), 1), ((1, 0), 1), ((0, 0), 0)])
def test_it_gives_the_convolution_of_rows_with_zeros_around_them(height, width, rows, columns):
    weight, bias = layer(5, 6)
    x = torch.randn(1, 5, height, width)
    points = winograd.evaluated(weight, winograd.CONVOLUTION)
    result = winograd.convolve(x, points, bias, rows, columns, winograd.CONVOLUTION)
    expected = F.conv2d(F.pad(x, (columns, columns, *rows)), weight, bias)
    assert result.shape == expected.shape
    torch.testing.assert_close(result, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 10), (4, 5), (33, 3), (5, 530)])
def test_it_gives_the_convolution_of_an_upsampled_map(height, width):
    weight, bias = layer(5, 6)
    x = torch.randn(1, 5, height, width)
    points = winograd.evaluated(weight, winograd.UPSAMPLED)
    result = winograd.convolve(x, points, bias, (1, 1), 1, winograd.UPSAMPLED)
    expected = F.conv2d(F.interpolate(x, scale_factor=2), weight, bias, padding=1)
    assert result.shape == expected.shape
    torch.testing.assert_close(result, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("filtering", "factor"), [(winograd.CONVOLUTION, 1), (winograd.UPSAMPLED, 2)])
def test_it_is_about_as_accurate_as_the_convolution(filtering, factor):
    weight, _ = layer(256, 128)
    x = F.silu(torch.randn(1, 256, 32, 32))
    large = F.interpolate(x, scale_factor=factor)
    exact = F.conv2d(large.double(), weight.double(), padding=1)
    error = (
        (winograd.convolve(x, winograd.evaluated(weight, filtering), None, (1, 1), 1, filtering) - exact).abs().max()
    )
    assert error < 3 * (F.conv2d(large, weight, padding=1) - exact).abs().max()


def test_it_is_used_for_wide_float32_convolutions_on_large_maps_only():
    weight, _ = layer(128, 128)
    x = torch.empty(1, 128, 48, 48)
    assert winograd.pays(x, weight, (1, 1), 1)
    assert not winograd.pays(x, weight, (2, 2), 1)
    assert not winograd.pays(x[..., :16, :16], weight, (1, 1), 1)
    assert not winograd.pays(x.bfloat16(), weight.bfloat16(), (1, 1), 1)
    assert not winograd.pays(x[:, :64], weight[:64, :64], (1, 1), 1)
    assert not winograd.pays(x, torch.empty(128, 128, 1, 1), (1, 1), 1)


class Upsampled(nn.Module):
    def forward(self, x):
        return upsample_nearest(x)


@pytest.fixture
def uses(monkeypatch):
    """A list that grows with every use."""
    used, convolve = [], winograd.convolve
    monkeypatch.setattr(winograd, "convolve", lambda *arguments: used.append(1) or convolve(*arguments))
    return used


@pytest.mark.parametrize("before", [nn.Identity(), Upsampled()])
def test_strips_of_a_wide_layer_do_not_change(uses, before):
    half = nn.Sequential(before, nn.Conv2d(128, 128, 3, padding=1), nn.GroupNorm(4, 128))
    x = torch.randn(1, 128, 101, 48)
    run = Run(Plan(1 << 40, 0, share=0.5))
    with torch.inference_mode():
        result = run.tensor(half(Rows.of(run, of_tensor(x), x.device)).handle.node)
        assert (result - half(x)).abs().max() < 2e-5
    assert uses


@pytest.mark.slow
def test_images_of_a_wide_network_do_not_change(uses):
    vae = vaezoo.create("vae_f8_z4", pretrained=True)
    fast, x = optimize(vae, "fp32", tile=96), torch.rand(1, 3, 192, 128) * 2 - 1
    with torch.inference_mode():
        assert (fast(x).reconstruction - vae(x).reconstruction).abs().max() < 1e-5
    assert uses
