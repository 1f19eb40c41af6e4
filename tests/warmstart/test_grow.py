"""A narrow network in a wider one: the same function, and copies that training can tell apart."""

import pytest
import torch

import vaezoo
from vaezoo.errors import SpecError
from vaezoo.nn.build import build
from vaezoo.nn.schema import check_spec
from vaezoo.specs.parse import parse_yaml
from vaezoo.warmstart.grow import grow

SLIM = {"*.*.groups": 2, "encoder.0.out": 4, "encoder.1.out": 6, "encoder.2.out": 8, "encoder.3.out": 12}
SLIM |= {"encoder.4.out": 12, "decoder.1.out": 12, "decoder.2.out": 12, "decoder.3.out": 8, "decoder.4.out": 6}
SLIM |= {"decoder.5.out": 4}
WIDE = {
    "encoder.4.heads": 4,
    "decoder.2.heads": 4,
}  # the micro network with four heads is four times as wide as SLIM with one


def narrow() -> vaezoo.VAE:
    torch.manual_seed(0)
    vae = vaezoo.create("vae_f8_z4_micro", overrides=SLIM)
    with torch.no_grad():
        for parameter in vae.parameters():  # norms and biases too
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return vae


def wide_spec(changes: dict | None = None) -> vaezoo.ModelSpec:
    return vaezoo.create("vae_f8_z4_micro", overrides=WIDE | (changes or {})).spec


def test_a_grown_network_computes_the_same():
    vae = narrow().double()
    vae.latent_stats = vaezoo.LatentStats(scale=0.5)
    wide = grow(vae, wide_spec())
    images, z = torch.rand(2, 3, 32, 24).double() * 2 - 1, torch.randn(2, 4, 3, 5).double()
    with torch.no_grad():
        torch.testing.assert_close(wide.encode(images).moments, vae.encode(images).moments, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(wide.decode(z), vae.decode(z), rtol=1e-9, atol=1e-9)
    assert wide.latent_stats == vae.latent_stats
    assert not wide.training


def test_copies_are_trained_apart():
    wide = grow(narrow(), wide_spec())
    wide(torch.rand(1, 3, 16, 16), sample=False).reconstruction.square().mean().backward()
    first, second = wide.encoder[0].weight.grad.chunk(4)[:2]  # of two copies of the same channels
    assert torch.equal(*wide.encoder[0].weight.chunk(4)[:2])
    assert (first - second).abs().max() > 0.1 * first.abs().max()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder.5.out": 24}, "is not vae_f8_z4_micro.* larger by one factor: they grow by 4, 6"),
        ({"encoder.1.layers": 2}, r"encoder\[1\].layers is 2, not 1"),
        ({"decoder.3.resample": "nearest_conv_3x3"}, r"decoder\[3\].resample is nearest_conv_3x3"),
        ({"latent.channels": 8}, "image or latent differ"),
    ],
)
def test_another_network_is_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        grow(narrow(), wide_spec(changes))


AVERAGING = """
image: {{channels: 3}}
latent: {{kind: gaussian, channels: 2}}
shared: {{norm: group, groups: {groups}, eps: 1.0e-5, act: silu}}
encoder:
  - {{block: conv, out: {out}, kernel: 3}}
  - {{block: head, out: moments, kernel: 3, shortcut: average}}
decoder:
  - {{block: conv, out: {out}, kernel: 3}}
  - {{block: head, out: image, kernel: 3}}
"""


def test_a_network_whose_function_does_not_grow_is_refused():
    narrow, wide = (
        check_spec(parse_yaml(AVERAGING.format(groups=groups, out=out), "averaging.yaml"), "averaging")
        for groups, out in ((2, 8), (4, 16))
    )
    torch.manual_seed(0)
    with pytest.raises(SpecError, match=r"latents differ from those of averaging.*leave grow out"):
        grow(build(narrow), wide)
