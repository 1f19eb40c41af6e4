"""More latent channels for weights that are there: at first the same function, then a larger one."""

import pytest
import torch
from support.representatives import first_of
from support.small import small_spec, small_vae

import vaezoo
from vaezoo.errors import CheckpointError
from vaezoo.nn.build import build
from vaezoo.nn.schema import change_spec, check_spec
from vaezoo.nn.vae import VAE
from vaezoo.specs.tree import Location, from_plain
from vaezoo.warmstart.widen import widen

GAUSSIAN = ["vae_f8_z4_micro", *first_of(["ldm_f8_z4", "asym_x1_5_f8_z4"], count=0)]
NETWORKS = [*GAUSSIAN, "taesd_f8_z4", "cosmos_f8_z16"]
MORE = 3


def wider(vae: VAE, more: int = MORE) -> VAE:
    return widen(vae, change_spec(vae.spec, {"latent.channels": vae.latent_channels + more})).eval()


@pytest.fixture(scope="module", params=NETWORKS)
def pair(request):
    """A small network with weights drawn at random, and the same with more latent channels."""
    torch.manual_seed(0)
    vae = small_vae(request.param)
    return vae, wider(vae)


def images():
    return torch.rand(1, 3, 64, 64) * 2 - 1


def test_a_wider_network_computes_what_the_old_one_did(pair):
    (vae, wide), x = pair, images()
    with torch.no_grad():
        old, new = vae(x, sample=False), wide(x, sample=False)
    z = vae.latent_channels
    assert new.latents.shape[1] == z + MORE
    near = {"rtol": 1e-4, "atol": 1e-5 * float(old.posterior.moments.abs().max())}
    torch.testing.assert_close(new.posterior.mean[:, :z], old.posterior.mean, **near)
    torch.testing.assert_close(new.posterior.logvar[:, :z], old.posterior.logvar, **near)
    near["atol"] = 1e-5 * float(old.reconstruction.abs().max())
    torch.testing.assert_close(new.reconstruction, old.reconstruction, **near)


def test_what_new_channels_hold_does_not_reach_the_image_yet(pair):
    vae, wide = pair
    z, new = torch.randn(1, vae.latent_channels, 8, 8), torch.randn(1, MORE, 8, 8)
    with torch.no_grad():
        assert torch.equal(wide.decode(torch.cat([z, new], 1)), wide.decode(torch.cat([z, 0 * new], 1)))


def test_a_gradient_reaches_new_channels_of_the_decoder_at_once_and_of_the_encoder_after_an_update(pair):
    vae, wide = pair[0], wider(pair[0])
    encoder, decoder = grown(vae, wide, "encoder", 0), grown(vae, wide, "decoder", 1)
    optimizer = torch.optim.SGD(wide.parameters(), lr=1e-3)
    reached = []
    for _ in range(2):
        optimizer.zero_grad()
        wide(images(), sample=True).reconstruction.square().mean().backward()
        reached.append([bool((weight.grad[new] != 0).any()) for weight, new in (encoder, decoder)])
        optimizer.step()
    assert reached == [[False, True], [True, True]]


def grown(vae, wide, half, axis):
    """The first weight of the encoder with more outputs, or the last of the decoder with more inputs; which are new."""
    pairs = zip(vae.get_submodule(half).parameters(), wide.get_submodule(half).parameters(), strict=True)
    weights = [(b, a.shape[axis]) for a, b in pairs if b.ndim == 4 and a.shape[axis] != b.shape[axis]]
    weight, before = weights[0 if axis == 0 else -1]
    means = before // 2 if axis == 0 and vae.spec.latent.kind == "gaussian" else before
    return weight, (slice(means, means + MORE) if axis == 0 else (slice(None), slice(means, None)))


@pytest.mark.parametrize("name", GAUSSIAN)
def test_new_channels_are_small_and_no_noisier_than_the_old_ones(name):
    vae = build(small_spec(name)).eval()
    with torch.no_grad():
        last = [p for p in vae.encoder.parameters() if p.ndim == 1][-1]
        last[vae.latent_channels :] = torch.tensor([-9.0, -7.0, -11.0, -8.0])[: vae.latent_channels]
        posterior = wider(vae).encode(images())
    spread, z = posterior.mean.std(dim=(0, 2, 3)), vae.latent_channels
    assert (spread[z:] > 0).all()
    assert spread[z:].mean() < 0.3 * spread[:z].mean()
    noise = posterior.logvar.mean(dim=(0, 2, 3))
    expected = torch.stack([noise[new % z] for new in range(MORE)])
    torch.testing.assert_close(noise[z:], expected, rtol=0, atol=0.2)


@pytest.mark.parametrize(
    ("name", "tensor"), [("sana_f32_z32", r"encoder\.\d+\.weight"), ("dcae_lite_f32_z32", r"encoder\.\d+\.weight")]
)
def test_latents_that_are_mixed_by_a_shortcut_are_refused_by_the_tensor(name, tensor):
    vae = build(small_spec(name), "meta")
    with pytest.raises(
        CheckpointError, match=rf"{tensor} cannot go from 4 to 8 latent channels, because its row mixes"
    ):
        wider(vae, 4)


def test_latents_that_are_mixed_by_a_norm_are_refused_by_the_tensor():
    row = {"block": "head", "out": "moments", "kernel": 1, "norm": "group", "groups": 1, "eps": 1e-6, "act": "silu"}
    spec = small_spec("vae_f8_z4_micro")
    data = spec.to_dict()
    data["encoder"][-1] = row
    vae = build(check_spec(from_plain(data, Location("mixed")), "mixed"), "meta")
    with pytest.raises(CheckpointError, match=r"mixed: encoder\.6\.norm\.\w+ cannot go from 2 to 5 latent channels"):
        wider(vae)


@pytest.fixture
def saved(tmp_path):
    vae = small_vae("vae_f8_z4_micro")
    vae.latent_stats = vaezoo.LatentStats(scale=0.5)
    return vae, f"local-dir:{vaezoo.save(vae, tmp_path / 'saved')}"


def test_create_widens_weights_and_claims_no_statistics_for_them(saved):
    vae, name = saved
    wide = vaezoo.create(name, pretrained=True, overrides={"latent.channels": 4, "encoder.*.padding": "zeros"})
    assert (wide.latent_channels, wide.training, wide.latent_stats) == (4, False, None)
    x = images()
    with torch.no_grad():
        torch.testing.assert_close(wide(x).reconstruction, vae(x).reconstruction, rtol=1e-4, atol=1e-4)
    with pytest.raises(vaezoo.InputError, match=r"latent statistics of .* are not known"):
        wide.normalize(torch.zeros(1, 4, 8, 8))


def test_half_precision_weights_are_widened_in_half_precision(saved):
    wide = vaezoo.create(saved[1], pretrained=True, overrides={"latent.channels": 4}, dtype=torch.bfloat16)
    assert {p.dtype for p in wide.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("rows", ["encoder.*", "decoder.6"])
def test_overrides_that_keep_all_shapes_load_and_keep_statistics_where_the_latents_are_the_same(saved, rows):
    (vae, name), half = saved, rows.partition(".")[0]
    changed = vaezoo.create(name, pretrained=True, overrides={f"{rows}.padding": "reflect"})
    for key, tensor in vae.state_dict().items():
        assert torch.equal(changed.state_dict()[key], tensor)
    assert changed.latent_stats == (vae.latent_stats if half == "decoder" else None)
    x = images()
    with torch.no_grad():
        assert torch.equal(changed.encode(x).mean, vae.encode(x).mean) == (half == "decoder")
        assert not torch.equal(changed(x).reconstruction, vae(x).reconstruction)


@pytest.mark.parametrize(
    ("overrides", "tensor"),
    [
        ({"latent.channels": 1}, r"shape       decoder\.0\.weight \(2, 2, 1, 1\), expected \(1, 1, 1, 1\)"),
        ({"encoder.*.layers": 2}, r"missing     encoder\.1\.layers\.1\."),
        ({"latent.channels": 4, "*.*.skip": "auto"}, r"unexpected  \w+\.\d\.layers\.\d\.skip\.bias"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_the_tensor(saved, overrides, tensor):
    with pytest.raises(CheckpointError, match=rf"does not fit vae_f8_z4_micro\+(.|\n)*{tensor}"):
        vaezoo.create(saved[1], pretrained=True, overrides=overrides)
