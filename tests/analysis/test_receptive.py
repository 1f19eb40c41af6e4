"""Receptive fields, walked back by arithmetic, against gradients: which inputs does a position depend on?"""

import pytest
import torch
from support.small import small_spec
from torch import nn

import vaezoo
from vaezoo.analysis import receptive
from vaezoo.analysis.receptive import GLOBAL, receptive_fields
from vaezoo.errors import SpecError
from vaezoo.nn.build import build
from vaezoo.nn.layers import ACTIVATIONS
from vaezoo.nn.schema import change_spec

SLOW = ["dcae_f32_z32", "sana_f32_z32", "hunyuanimage_f32_z64", "dcae_lite_f32_z32"]
SMALL = ["ldm_f8_z4", "taesd_f8_z4", "taef2_f8_z32", "cosmos_f8_z16"]
SHUFFLES = {"encoder.*.resample": "conv_3x3_unshuffle_average", "decoder.*.resample": "conv_3x3_shuffle_duplicate"}
SPECS = {"micro": lambda: vaezoo.get_spec("vae_f8_z4_micro")}
SPECS |= {"micro_shuffles": lambda: change_spec(vaezoo.get_spec("vae_f8_z4_micro"), SHUFFLES)}
SPECS |= {name: lambda name=name: small_spec(name) for name in SMALL}
CASES = [*SPECS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
IDENTITY = dict.fromkeys(ACTIVATIONS, lambda x: x)


class Identity(nn.Module):
    """Instead of a norm or attention: the input."""

    def forward(self, x):
        return x


def transparent(spec: vaezoo.ModelSpec, monkeypatch) -> vaezoo.VAE:
    """The network without norms, attention and activations, and with positive weights: no gradient is 0 by chance."""
    for module in ("layers", "single_layers", "dcae_blocks", "efficientvit", "taesd_blocks"):
        monkeypatch.setattr(f"vaezoo.nn.{module}.ACTIVATIONS", IDENTITY)
    monkeypatch.setattr("vaezoo.nn.transforms.torch.tanh", lambda x: x)
    vae = build(spec, "cpu").double()
    for module in list(vae.modules()):
        for name, child in module.named_children():
            if "norm" in name.lower() or isinstance(child, GLOBAL["attention"]):
                setattr(module, name, Identity())
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.uniform_(0.5, 1.5).div_(max(1, parameter[0].numel()))
    return vae


def seen(function, x: torch.Tensor, positions: range) -> int:
    """How many columns of `x` have a gradient from a column of the result, at most, over some of its columns."""
    x.requires_grad_()
    result = function(x)
    widths = []
    for position in positions:
        (gradient,) = torch.autograd.grad(result[..., position].sum(), x, retain_graph=True)
        columns = gradient.abs().sum(dim=(0, 1, 2)).nonzero().flatten().tolist()
        assert columns[0] > 0, "the image is too small"
        assert columns[-1] < x.shape[-1] - 1, "the image is too small"
        widths.append(columns[-1] - columns[0] + 1)
    return max(widths)


@pytest.mark.parametrize("name", CASES)
def test_receptive_fields_are_where_gradients_are(name, monkeypatch):
    spec = SPECS[name]() if name in SPECS else small_spec(name)
    fields = receptive_fields(build(spec, "meta"))
    vae = transparent(spec, monkeypatch)
    f, z = vae.downscale, vae.latent_channels

    def middle(latents: int) -> range:
        return range(f * (latents // 2), f * (latents // 2) + f)

    wide = fields.latent // f + 4
    image = torch.rand(1, 3, f, f * wide).double()
    assert seen(vae.encoder, image, range(wide // 2, wide // 2 + 1)) == fields.latent
    wide = fields.output + 4
    assert seen(vae.decoder, torch.rand(1, z, 1, wide).double(), middle(wide)) == fields.output
    if name == "micro":
        wide = fields.through // f + 4
        image = torch.rand(1, 3, f, f * wide).double()
        assert seen(lambda x: vae.decoder(vae.encoder(x)[:, :z]), image, middle(wide)) == fields.through


def test_what_makes_a_half_see_everything_is_named():
    def halves(name, **overrides):
        fields = receptive_fields(vaezoo.create(name, overrides=overrides, device="meta"))
        return fields.encoder_global, fields.decoder_global

    both = ("attention", "group norm")
    assert halves("vae_f8_z4_micro") == (both, both)
    assert halves("vae_f8_z4_micro", **{"encoder.*.heads": 0}) == (("group norm",), both)
    assert halves("taesd_f8_z4") == ((), ())
    assert halves("taef2_f8_z32") == (("group norm",), ("group norm",))
    assert halves("dcae_f32_z32") == (("attention",), ("attention",))


def test_the_documented_network_sees_192_pixels():
    """By hand: (kernel - 1) * stride so far, added up: 3x3 at full size, four 3x3 and a 4x4 a level, four in the middle
    block and two more (layers: 2), the head."""
    full, half, quarter, eighth = 1, 2, 4, 8
    by_hand = 1 + 2 * full + sum(4 * 2 * s + 3 * s for s in (full, half, quarter)) + 6 * 2 * eighth + 2 * eighth
    assert receptive_fields(vaezoo.create("vae_f8_z4", device="meta")).latent == by_hand == 192


def test_a_resampler_that_is_not_known_is_an_error(monkeypatch):
    vae = vaezoo.create("cosmos_f8_z16", device="meta")
    monkeypatch.setattr(receptive, "Haar", receptive.InverseHaar)
    with pytest.raises(SpecError, match=r"encoder\[0\]: the receptive field of haar is not known"):
        receptive_fields(vae)
