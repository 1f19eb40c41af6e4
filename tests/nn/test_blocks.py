"""Layers and blocks: attention, residual layers, resamplers, every entry of every table, and the memory they hold."""

import math

import pytest
import torch
import torch.nn.functional as F
from support.watch import Watch
from torch import nn

import vaezoo
from vaezoo.errors import SpecError
from vaezoo.nn.attention import Attention, build_attention
from vaezoo.nn.blocks import BLOCKS
from vaezoo.nn.distributions import LATENTS
from vaezoo.nn.layers import ACTIVATIONS, SKIPS, Conv, ResidualLayer, damp
from vaezoo.nn.norms import NORMS, NormConfig
from vaezoo.nn.resamplers.downsamplers import DOWNSAMPLERS
from vaezoo.nn.resamplers.upsamplers import UPSAMPLERS

NORM = {"norm": NormConfig(norm="group", groups=8, eps=1e-5)}
LAYER = {**NORM, "act": "silu", "skip": "conv", "padding": "zeros"}


@pytest.mark.parametrize("heads", [1, 4])
def test_attention_is_multihead_attention_with_a_norm_and_a_residual(heads):
    ours, theirs = Attention(32, heads=heads, **NORM), nn.MultiheadAttention(32, heads, batch_first=True)
    with torch.no_grad():
        nn.init.normal_(ours.norm.weight)
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.copy_(ours.qkv.bias.normal_())
        theirs.out_proj.weight.copy_(ours.proj.weight.normal_())
        theirs.out_proj.bias.copy_(ours.proj.bias.normal_())
    x = torch.randn(2, 32, 5, 7)
    tokens = F.group_norm(x, 8, ours.norm.weight, ours.norm.bias, 1e-5).flatten(2).mT
    expected = x + theirs(tokens, tokens, tokens)[0].mT.reshape(x.shape)
    torch.testing.assert_close(ours(x), expected)


def test_no_heads_are_no_attention_and_heads_must_divide_the_channels():
    assert isinstance(build_attention(32, heads=0, **NORM), nn.Identity)
    with pytest.raises(ValueError, match="heads 3 does not divide 32"):
        build_attention(32, heads=3, **NORM)


SCORES = [
    (channels, heads, dtype, training)
    for channels, heads in [(16, 1), (16, 4), (256, 1), (512, 1)]
    for dtype in (torch.float32, torch.bfloat16)
    for training in (False, True)
    if channels < 512 or dtype == torch.float32
]
WIDE = {(512, 1, torch.float32, True), *((256, 1, torch.bfloat16, training) for training in (False, True))}


@pytest.mark.parametrize(
    ("channels", "heads", "dtype", "training"),
    [  # many CPUs have no fast matrix product in bfloat16
        pytest.param(*case, marks=pytest.mark.slow) if case in WIDE else case for case in SCORES
    ],
)
def test_the_matrix_of_scores_is_never_made_and_qkv_is_one_product(channels, heads, dtype, training):
    side = math.isqrt(3 * channels) + 1  # T*T is above every other size here, such as the fused qkv: T * 3 * channels
    layer = Attention(channels, heads=heads, **NORM).to(dtype)
    x = torch.randn(1, channels, side, side, dtype=dtype)
    with Watch() as watch, torch.set_grad_enabled(training):
        y = layer(x)
        if training:
            y.sum().backward()
    assert max(size for _, size in watch.results) < side**4
    products = [name for name, _ in watch.results if "mm" in name or "linear" in name]
    assert training or len(products) == 2  # qkv and proj


@pytest.mark.parametrize("skip", SKIPS)
def test_a_residual_layer_holds_three_feature_maps_at_once_without_gradients(skip):
    layer, x = ResidualLayer(32, 32, **{**LAYER, "skip": skip}), torch.randn(1, 32, 64, 64)
    with Watch() as watch, torch.no_grad():
        watch.hold(x.untyped_storage())
        layer(x)
    one = x.numel() * 4
    assert 3 * one <= watch.peak < 3.1 * one  # the input, and two of: norm's output, convolution's output, shortcut


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("norm", NORMS)
def test_activations_overwrite_a_layer_s_own_tensors_but_never_its_input(act, norm):
    kind = {"norm": NormConfig(norm=norm, groups=8 if norm == "group" else None, eps=1e-5)}
    layer = ResidualLayer(8, 8, **{**LAYER, "act": act, **kind})
    head = BLOCKS["head"](8, out=3, kernel=3, **kind, act=act)
    x = torch.randn(1, 8, 6, 6)
    before = x.clone()
    expected = layer(x), head(x)
    with torch.no_grad():
        outputs = layer(x), head(x)
    with torch.inference_mode():
        again = layer(x), head(x)
    assert torch.equal(x, before)
    for a, b, c in zip(expected, outputs, again, strict=True):
        torch.testing.assert_close(a, b)
        assert torch.equal(b, c)


def test_silu_and_relu_are_what_they_are_called():
    x = torch.tensor([-1.0, 0.0, 2.0])
    torch.testing.assert_close(ACTIVATIONS["silu"](x), torch.tensor([-0.26894142, 0.0, 1.76159416]))
    assert ACTIVATIONS["relu"](x).tolist() == [0, 0, 2]


def test_a_1x1_convolution_of_unchanged_width_starts_as_the_identity():
    x = torch.randn(2, 8, 3, 5)
    for layer in (Conv(8, 8, 1), SKIPS["conv"](8, 8), SKIPS["auto"](8, 8)):
        assert torch.equal(layer(x), x)
    assert not torch.equal(Conv(8, 8, 3)(x), x)
    assert isinstance(SKIPS["auto"](8, 16), Conv)
    with pytest.raises(ValueError, match="kernel 2 is even"):
        Conv(8, 8, 2)


def test_residual_branches_start_at_a_tenth_of_pytorch_s_own_size():
    torch.manual_seed(1)
    plain = nn.Linear(64, 64)
    torch.manual_seed(1)
    damped = damp(nn.Linear(64, 64))
    torch.testing.assert_close(damped.weight, plain.weight * 0.1)
    torch.testing.assert_close(damped.bias, plain.bias * 0.1)
    layer, attend = ResidualLayer(64, 64, **LAYER), Attention(64, heads=4, **NORM)
    for last, fan_in in [(layer.conv2, 64 * 9), (attend.proj, 64)]:
        assert 0.05 / fan_in**0.5 < last.weight.abs().max() <= 0.1 / fan_in**0.5
    x = torch.randn(1, 64, 8, 8)
    assert (layer(x) - x).std() < 0.1
    assert (attend(x) - x).std() < 0.1


@pytest.mark.parametrize("name", DOWNSAMPLERS)
def test_a_downsampler_halves_even_sizes(name):
    layer = DOWNSAMPLERS[name](4, 8, "zeros")
    assert layer.scale == 1 / 2
    assert layer(torch.randn(1, 4, 2, 10)).shape == (1, 8, 1, 5)


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_an_upsampler_doubles_sizes(name):
    layer = UPSAMPLERS[name](4, 8, "zeros")
    assert layer.scale == 2
    assert layer(torch.randn(1, 4, 1, 5)).shape == (1, 8, 2, 10)


def test_the_ldm_resamplers_pad_right_and_below_and_repeat_pixels():
    down, up = DOWNSAMPLERS["conv_3x3_asymmetric"](1, 1, "zeros"), UPSAMPLERS["nearest_conv_3x3"](1, 1, "zeros")
    for layer in (down, up):
        nn.init.zeros_(layer.bias)
    with torch.no_grad():
        down.weight.fill_(1)
        up.weight.zero_()[0, 0, 1, 1] = 1
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert down(x).flatten().tolist() == [45, 39, 66, 50]  # sums of 3x3 windows from (0, 0), (0, 2), (2, 0), (2, 2)
    assert up(x)[0, 0, :2, :4].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]


ENTRIES = [
    *[{"*.*.norm": name, "*.*.groups": 8 if name == "group" else None} for name in NORMS],
    *[{"*.*.act": name} for name in ACTIVATIONS],
    *[{"*.*.skip": name} for name in SKIPS],
    *[{"encoder.*.resample": name} for name in DOWNSAMPLERS],
    *[{"decoder.*.resample": name} for name in UPSAMPLERS],
    *[{"latent.kind": name} for name in LATENTS],
    {"encoder.2.heads": 4, "decoder.4.heads": 2},
    {"*.*.heads": 0},
    {"encoder.3.resample": None, "decoder.3.resample": None},
    {"image.channels": 1, "latent.channels": 7},
    {"*.*.layers": 2},
]


@pytest.mark.parametrize("changes", ENTRIES, ids=str)
def test_every_entry_of_every_table_works_in_a_network_forward_and_backward(changes):
    vae = vaezoo.create("vae_f8_z4_micro", overrides=changes).train()
    images = torch.rand(2, vae.spec.image.channels, 16, 24) * 2 - 1
    out = vae(images)
    assert out.reconstruction.shape == images.shape
    assert out.latents.shape == (2, *vae.diffusion_shape(16, 24))
    ((out.reconstruction - images).square().sum() + out.posterior.kl().sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in vae.parameters())
    assert all(p.grad.any() for p in vae.parameters())


def test_heads_on_a_down_or_up_row_put_attention_after_every_residual_layer():
    down = BLOCKS["down"](8, out=16, layers=2, resample="conv_4x4", heads=2, **LAYER)
    up = BLOCKS["up"](8, out=16, layers=2, resample="nearest_conv_3x3", heads=2, **LAYER)
    x = torch.randn(1, 8, 6, 4)
    first, second = down.attentions
    h = second(down.layers[1](first(down.layers[0](x))))
    torch.testing.assert_close(down(x), down.resample(h))
    first, second = up.attentions
    h = up.layers[0](up.resample(x))
    torch.testing.assert_close(up(x), second(up.layers[1](first(h))))
    assert [a.heads for a in (*down.attentions, *up.attentions)] == [2] * 4


def test_a_mid_block_alternates_and_without_heads_keeps_its_residual_layers():
    mid, plain = (BLOCKS["mid"](8, out=16, layers=2, heads=heads, **LAYER) for heads in (2, 0))
    x = torch.randn(1, 8, 4, 4)
    a, b, c = mid.layers
    torch.testing.assert_close(mid(x), c(mid.attentions[1](b(mid.attentions[0](a(x))))))
    a, b, c = plain.layers
    torch.testing.assert_close(plain(x), c(b(a(x))))
    assert not any("attentions" in key for key in plain.state_dict())


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"*.*.groups": 7}, r"encoder\[1\]: groups 7 does not divide 16 channels"),
        ({"encoder.4.heads": 5}, r"encoder\[4\]: heads 5 does not divide 48 channels"),
        ({"decoder.6.kernel": 4}, r"decoder\[6\]: kernel 4 is even"),
        ({"decoder.6.out": 4}, r"decoder\[6\]: the decoder ends with 4 channels, not 3; .* out: image"),
        ({"decoder.3.resample": None}, r"divides each side by 8, the decoder multiplies it by 4"),
        ({"decoder.3.block": "down", "decoder.3.resample": "conv_4x4"}, r"decoder\[3\]: .* cannot be down"),
        ({"encoder.1.block": "up", "encoder.1.resample": "nearest_conv_3x3"}, r"encoder\[1\]: .* cannot be up"),
    ],
    ids=str,
)
def test_rows_that_do_not_fit_are_named(changes, fault):
    with pytest.raises(SpecError, match=fault):
        vaezoo.create("vae_f8_z4_micro", overrides=changes)
