"""Modules of diffusers, in memory, as networks of the zoo: `vaezoo.from_diffusers`."""

import random

import diffusers
import pytest
import torch
from support.diffusers_small import SMALL
from support.diffusers_small import small_model as theirs
from support.small import randomized, same_weights
from support.tiny_pipeline import LDM, small, twin

import vaezoo

FRAMES = ("AutoencoderKLQwenImage", "AutoencoderKLWan")  # which take (B, C, frames, H, W) and clamp what they decode


def latents_of(module, x):
    found = module.encode(x)
    for name in ("latent_dist", "latents", "latent"):
        if hasattr(found, name):
            value = getattr(found, name)
            return value.mode() if name == "latent_dist" else value
    raise AssertionError(found)


@pytest.mark.parametrize("name", SMALL)
def test_a_module_of_each_class_gives_what_it_gave(name):
    module = theirs(name)
    # float64, because norms over the few values of so small a latent magnify rounding, more on some CPUs than on others
    vae, module = vaezoo.from_diffusers(module).double(), module.double()
    images = torch.rand(1, vae.spec.image.channels, vae.size_multiple, 2 * vae.size_multiple).double() * 2 - 1
    with torch.no_grad():
        z = vae.encode(images).mode()
        decoded = vae.decode(z)
        if name in FRAMES:
            other, image = latents_of(module, images[:, :, None])[:, :, 0], module.decode(z[:, :, None]).sample[:, :, 0]
            decoded = decoded.clamp(-1, 1)
        else:
            other, image = latents_of(module, images), module.decode(z).sample
    assert (z - other).abs().max() <= 1e-4 * other.abs().max()
    assert (decoded - image).abs().max() <= 1e-4 * image.abs().max()


def test_the_module_is_left_untouched_and_shares_nothing():
    module = theirs("AutoencoderKL")
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    config = dict(module.config)
    vae = vaezoo.from_diffusers(module)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.zero_()
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())
    assert dict(module.config) == config
    assert not vae.training
    assert all(parameter.requires_grad for parameter in vae.parameters())


def test_dtype_mode_and_statistics_come_along(tmp_path):
    module = twin(small(tmp_path, LDM, scale=0.36, shift=0.12)).to(torch.bfloat16).train()
    vae = vaezoo.from_diffusers(module)
    assert vae.dtype == torch.bfloat16
    assert vae.training
    assert vae.latent_stats == vaezoo.LatentStats(scale=0.36, shift=0.12)


def test_packed_statistics_come_from_the_tensors_and_their_eps_from_the_config():
    cls, small_config = diffusers.AutoencoderKLFlux2, SMALL["AutoencoderKLFlux2"](random.Random(1))
    module = randomized(cls.from_config({"_class_name": "AutoencoderKLFlux2", **small_config, "batch_norm_eps": 0.01}))
    stats = vaezoo.from_diffusers(module).latent_stats
    assert (stats.eps, stats.pack) == (0.01, 2)
    assert torch.tensor(stats.mean).equal(module.bn.running_mean)
    assert torch.tensor(stats.var).equal(module.bn.running_var)


def test_there_and_back_is_the_same_network(tmp_path):
    vae = small(tmp_path, LDM, scale=0.5)
    again = vaezoo.from_diffusers(twin(vae))
    assert again.spec.hash == vae.spec.hash
    assert again.latent_stats == vae.latent_stats
    assert same_weights(vae, again)
    assert vaezoo.from_diffusers(vaezoo.as_diffusers(vae)) is vae


def test_a_class_that_is_not_known_is_told_those_that_are():
    with pytest.raises(vaezoo.SpecError, match=r"the config of VQModel.*not one of .*AutoencoderKL, .*AutoencoderDC"):
        vaezoo.from_diffusers(diffusers.VQModel())


@pytest.mark.parametrize("thing", [torch.nn.Conv2d(1, 1, 1), "vae", None])
def test_what_is_no_module_with_a_config_is_refused(thing):
    with pytest.raises(vaezoo.InputError, match="expected a VAE of diffusers, with its config, not"):
        vaezoo.from_diffusers(thing)


def test_tensors_that_the_config_does_not_stand_for_are_refused():
    module = theirs("AutoencoderKL")
    module.encoder.conv_in = torch.nn.Conv2d(3, 7, 3)
    with pytest.raises(vaezoo.CheckpointError, match=r"than its config stands for(.|\n)*encoder\.conv_in"):
        vaezoo.from_diffusers(module)


def test_quantized_tensors_are_refused():
    module = theirs("AutoencoderKL")
    module.encoder.conv_in.weight = torch.nn.Parameter(module.encoder.conv_in.weight.to(torch.int8), False)
    with pytest.raises(vaezoo.CheckpointError, match=r"tensors of type torch\.int8; convert it before it is quantized"):
        vaezoo.from_diffusers(module)


def test_a_module_without_weights_is_refused():
    with torch.device("meta"):
        module = diffusers.AutoencoderTiny()
    with pytest.raises(vaezoo.CheckpointError, match="this AutoencoderTiny is on the meta device"):
        vaezoo.from_diffusers(module)
