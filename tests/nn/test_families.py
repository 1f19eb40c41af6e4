"""The rows of the tiny, deep-compression and wavelet families: against formulas, forward and backward."""

import pytest
import torch
import torch.nn.functional as F
from support.watch import Watch

import vaezoo
from vaezoo.errors import SpecError
from vaezoo.nn.blocks import BLOCKS
from vaezoo.nn.efficientvit import LinearAttention, linear_attention, quadratic_attention
from vaezoo.nn.resamplers.downsamplers import DOWNSAMPLERS
from vaezoo.nn.resamplers.upsamplers import UPSAMPLERS
from vaezoo.nn.shortcuts import average, duplicate

TINY = """
image: {channels: 3}
latent: {kind: deterministic, channels: 4}
shared: {act: relu}
encoder:
  - {block: rescale, gain: 0.5, offset: 0.5}
  - {block: conv_act, out: 8, kernel: 3, stride: 2}
  - {block: tiny_down, out: 12, layers: 2, resample: conv_3x3_no_bias}
  - {block: tiny_down, out: 12, layers: 1, resample: null, pool_groups: 4}
  - {block: conv, out: latent, kernel: 3}
decoder:
  - {block: clamp, limit: 3}
  - {block: conv_act, out: 12, kernel: 3, stride: 1}
  - {block: tiny_up, out: 12, layers: 1, resample: null, pool_groups: 4}
  - {block: tiny_up, out: 8, layers: 1, resample: nearest_conv_3x3_no_bias, resample_out: 8}
  - {block: tiny_up, out: 8, layers: 1, resample: nearest_conv_3x3_no_bias}
  - {block: conv, out: image, kernel: 3}
  - {block: rescale, gain: 2, offset: -1}
"""
DEEP = """
image: {channels: 3}
latent: {kind: deterministic, channels: 4}
shared: {norm: rms, groups: null, eps: 1.0e-5, act: silu, head_channels: 8, kernels: [5], expand: 2}
encoder:
  - {block: downsample, out: 8, resample: conv_3x3_unshuffle}
  - {block: dc_down, layers: 2, resample: conv_3x3_unshuffle_average, resample_out: 16}
  - {block: dc_down, layers: 1, resample: conv_3x3_average, resample_out: 32}
  - {block: vit_down, layers: 2, resample: null}
  - {block: conv, out: latent, kernel: 3, shortcut: average}
decoder:
  - {block: conv, out: 32, kernel: 3, shortcut: duplicate}
  - {block: vit_up, layers: 2, resample: null}
  - {block: dc_up, layers: 1, resample: nearest_conv_3x3_duplicate, resample_out: 16}
  - {block: dc_up, layers: 1, resample: conv_3x3_shuffle_duplicate, resample_out: 8, norm: batch, act: relu}
  - {block: norm_act, act: relu}
  - {block: upsample, out: image, resample: conv_3x3_shuffle}
"""
WAVES = """
image: {channels: 3}
latent: {kind: gaussian, channels: 4}
shared: {norm: group, groups: 4, eps: 1.0e-6, act: silu, skip: auto}
encoder:
  - {block: haar, levels: 2}
  - {block: conv, out: 8, kernel: 3}
  - {block: down, out: 8, layers: 1, resample: conv_3x3_unshuffle_average_outer, resample_out: 16}
  - {block: head, out: moments, kernel: 3, shortcut: average}
decoder:
  - {block: conv, out: 16, kernel: 3, shortcut: duplicate}
  - {block: up, out: 8, layers: 1, resample: conv_3x3_shuffle_duplicate_outer, resample_out: 8}
  - {block: head, out: 48, kernel: 3}
  - {block: inverse_haar, levels: 2}
"""
SPECS = {"tiny": TINY, "deep": DEEP, "waves": WAVES}


@pytest.fixture
def network(tmp_path):
    """A network from a text, with changes."""

    def build(text: str, **changes) -> vaezoo.VAE:
        (tmp_path / "x.yaml").write_text(text)
        return vaezoo.create(tmp_path / "x.yaml", overrides=changes)

    return build


@pytest.mark.parametrize("text", SPECS.values(), ids=SPECS)
def test_every_row_works_forward_and_backward_and_no_weight_is_left_out(network, text):
    vae = network(text).train()
    images = torch.rand(2, 3, 16, 24) * 2 - 1
    out = vae(images)
    assert out.reconstruction.shape == images.shape
    ((out.reconstruction - images).square().sum() + out.posterior.kl().sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in vae.parameters())


@pytest.mark.parametrize("padding", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("text", SPECS.values(), ids=SPECS)
def test_another_padding_changes_the_edge_and_not_the_middle(network, text, padding):
    torch.manual_seed(3)
    plain = network(text)
    padded = network(text, **{"*.*.padding": padding})
    padded.load_state_dict(plain.state_dict())
    images = torch.rand(1, 3, 32, 32)
    row = next(i for i, block in enumerate(plain.encoder) if any(p.ndim == 4 for p in block.parameters()))
    with torch.no_grad():
        a, b = (vae.encoder[: row + 1](images) for vae in (plain, padded))
    assert not torch.equal(a, b)
    assert torch.equal(a[..., 2:-2, 2:-2], b[..., 2:-2, 2:-2])


def test_reflect_padding_is_pytorch_s_reflection():
    conv = BLOCKS["conv"](2, out=3, kernel=3, padding="reflect")
    x = torch.randn(1, 2, 5, 6)
    expected = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), conv.weight, conv.bias)
    torch.testing.assert_close(conv(x), expected)


def test_the_asymmetric_resampler_pads_with_zeros_whatever_the_padding():
    x = torch.randn(1, 2, 4, 4)
    torch.manual_seed(0)
    zeros = DOWNSAMPLERS["conv_3x3_asymmetric"](2, 2, "zeros")(x)
    torch.manual_seed(0)
    assert torch.equal(DOWNSAMPLERS["conv_3x3_asymmetric"](2, 2, "reflect")(x), zeros)
    with pytest.raises(ValueError, match="transposed convolution pads with zeros, not padding: reflect"):
        UPSAMPLERS["conv_transpose_4x4"](2, 2, "reflect")


def patches(x: torch.Tensor, order: str) -> torch.Tensor:
    """(B, C, 2h, 2w) -> (B, 4C, h, w) with channels in the order that `order` spells, c for channel, r for patch."""
    b, c, height, width = x.shape
    cut = x.view(b, c, height // 2, 2, width // 2, 2)
    return cut.permute(*{"crr": (0, 1, 3, 5, 2, 4), "rrc": (0, 3, 5, 1, 2, 4)}[order]).reshape(b, -1, *cut.shape[2:5:2])


@pytest.mark.parametrize(
    ("name", "order"), [("conv_3x3_unshuffle_average", "crr"), ("conv_3x3_unshuffle_average_outer", "rrc")]
)
def test_an_unshuffling_downsampler_is_a_convolution_and_averaged_patches_in_its_order(name, order):
    layer, x = DOWNSAMPLERS[name](4, 8, "zeros"), torch.randn(2, 4, 6, 8)
    convolved = patches(F.conv2d(x, layer.weight, layer.bias, padding=1), order)
    averaged = patches(x, order).view(2, 8, 2, 3, 4).mean(dim=2)
    torch.testing.assert_close(layer(x), convolved + averaged)


@pytest.mark.parametrize(
    ("name", "order"), [("conv_3x3_shuffle_duplicate", "crr"), ("conv_3x3_shuffle_duplicate_outer", "rrc")]
)
def test_a_shuffling_upsampler_is_a_convolution_and_repeated_channels_in_its_order(name, order):
    layer, x = UPSAMPLERS[name](8, 4, "zeros"), torch.randn(2, 8, 3, 4)
    both = F.conv2d(x, layer.weight, layer.bias, padding=1) + x.repeat_interleave(2, dim=1)
    torch.testing.assert_close(patches(layer(x), order), both)


def test_averaging_takes_neighbouring_channels_and_duplicating_is_its_inverse():
    x = torch.randn(1, 6, 2, 2)
    torch.testing.assert_close(average(x, 3)[:, 1], (x[:, 2] + x[:, 3]) / 2)
    torch.testing.assert_close(average(duplicate(x, 18), 6), x)
    assert torch.equal(duplicate(x, 12)[:, 5], x[:, 2])


@pytest.mark.parametrize("positions", [1, 7, 40])
def test_linear_and_quadratic_attention_are_one_function(positions):
    q, k, v = torch.rand(3, 2, 3, 8, positions).unbind()
    torch.testing.assert_close(linear_attention(q, k, v), quadratic_attention(q, k, v))


def test_linear_attention_never_holds_the_scores_of_all_pairs_and_is_the_weighted_mean_of_values():
    layer, positions = LinearAttention(16, 8, (), torch.nn.Identity()), 16 * 18
    x = torch.randn(1, 16, 16, 18)
    with Watch() as watch:
        mine = layer(x)
    assert max(size for _, size in watch.results) < positions**2
    heads = layer.qkv(x).view(1, 2, 24, positions)
    q, k, v = heads[:, :, :8].relu(), heads[:, :, 8:16].relu(), heads[:, :, 16:]
    weights = torch.einsum("bhck,bhcq->bhkq", k, q)
    mixed = torch.einsum("bhck,bhkq->bhcq", v, weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-12))
    torch.testing.assert_close(mine, x + layer.proj(mixed.reshape(x.shape)), rtol=1e-4, atol=1e-5)


def test_haar_wavelets_are_means_and_differences_of_2x2_pixels_and_invert():
    haar, inverse = BLOCKS["haar"](2, levels=1), BLOCKS["inverse_haar"](8, levels=1)
    x = torch.zeros(1, 2, 2, 2)
    x[0, 0] = torch.tensor([[8.0, 4.0], [2.0, 0.0]])
    x[0, 1] = 1
    assert haar(x).flatten().tolist() == [3.5, 1, 2.5, 0, 1.5, 0, 0.5, 0]
    x, deep = torch.randn(2, 3, 16, 24), BLOCKS["haar"](3, levels=3)
    assert deep(x).shape == (2, 192, 2, 3)
    torch.testing.assert_close(BLOCKS["inverse_haar"](192, levels=3)(deep(x)), x)
    assert inverse.out == 2


def test_the_clamp_and_the_change_of_range_are_what_they_say():
    x = torch.tensor([[[[-30.0, 0.3, 30.0]]]])
    torch.testing.assert_close(BLOCKS["clamp"](1, limit=3)(x).flatten(), torch.tensor([-3.0, 0.29900399, 3.0]))
    assert BLOCKS["rescale"](1, gain=0.5, offset=0.5)(torch.tensor([[[[-1.0, 1.0]]]])).flatten().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "changes", "fault"),
    [
        (DEEP, {"encoder.1.resample_out": 12}, r"encoder\[1\]: 32 channels are not a multiple of 12"),
        (DEEP, {"encoder.0.out": 6}, r"encoder\[0\]: 6 channels are not a multiple of 4"),
        (DEEP, {"encoder.3.head_channels": 5}, r"encoder\[3\]: head_channels 5 does not divide 32"),
        (DEEP, {"encoder.3.kernels": [4]}, r"encoder\[3\]: kernels has an even one, 4"),
        (DEEP, {"encoder.3.kernels": 5}, r"encoder\[3\].kernels: expected a list"),
        (DEEP, {"encoder.3.resample_out": 8}, r"encoder\[3\]: resample_out 8 needs a resample, which is null"),
        (DEEP, {"latent.channels": 5}, r"32 channels are not a multiple of 5"),
        (TINY, {"encoder.1.stride": 5}, r"encoder\[1\]: kernel 3 is even, or smaller than stride 5"),
        (WAVES, {"decoder.2.out": 24}, r"decoder\[3\]: 24 channels are not a multiple of 16"),
        (WAVES, {"*.*.norm": "rms"}, r"groups 4 means nothing to norm: rms"),
    ],
    ids=str,
)
def test_rows_that_cannot_be_built_are_named(network, text, changes, fault):
    with pytest.raises(SpecError, match=fault):
        network(text, **changes)
