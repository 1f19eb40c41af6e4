"""Latent statistics on record: those of the pipelines that ship with the weights; normalizing goes there and back."""

import functools
import re
from dataclasses import replace

import pytest
import torch
from support.commands import run

import vaezoo
from vaezoo.specs.stats import LatentStats
from vaezoo.weights.records import all_records

QWEN_MEAN = (
    "-0.7571 -0.7089 -0.9113 0.1075 -0.1745 0.9653 -0.1517 1.5508 0.4134 -0.0715 0.5517 -0.3632 -0.1922 -0.9497 "
)
QWEN_MEAN += "0.2503 -0.2921"
QWEN_STD = (
    "2.8184 1.4541 2.3275 2.6558 1.2196 1.7708 2.6052 2.0743 3.2687 2.1526 2.8652 1.5579 1.6382 1.1253 2.8251 1.916"
)


def numbers(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split())


# What each pipeline subtracts and multiplies with, written down from its source and not from our records. In latents z:
# (z - shift) * scale, or (z - mean) / std * scale, or a batch norm's over 2x2 packed latents (`bn`).
SD = {"scale": 0.18215}  # diffusers models/autoencoders/autoencoder_kl.py, scaling_factor
SDXL = {"scale": 0.13025}  # generative-models configs/inference/sd_xl_base.yaml, scale_factor
SD3 = {"scale": 1.5305, "shift": 0.0609}  # sd3.5 sd3_impls.py, SD3LatentFormat
FLUX1 = {"scale": 0.3611, "shift": 0.1159}  # flux src/flux/util.py
FLUX2 = {"pack": 2, "eps": 1e-4}  # flux2 src/flux2/autoencoder.py, bn; diffusers pipelines/flux2/pipeline_flux2.py
WAN = {
    "mean": numbers(QWEN_MEAN),
    "std": numbers(QWEN_STD),
}  # diffusers autoencoder_kl_qwenimage.py, autoencoder_kl_wan.py
SCALED = {
    "scale": 1.0
}  # diffusers models/autoencoders/autoencoder_tiny.py; taesd taesd.py; Cosmos-Tokenizer layers2d.py
SANA = {"scale": 0.41407}  # diffusers scripts/convert_dcae_to_diffusers.py
HUNYUAN = {"scale": 0.75289}  # diffusers scripts/convert_hunyuan_image_to_diffusers.py
EXPECTED = {
    "ldm_f8_z4.sd_vae_ft_mse": SD,
    "ldm_f8_z4.sd_vae_ft_ema": SD,
    "ldm_f8_z4.sd15": SD,
    "ldm_f8_z4.sdxl": SDXL,
    "ldm_f8_z4.sdxl_fp16_fix": SDXL,
    "ldm_f8_z4.sd_vae_ft_mse_ldm": SD,
    "ldm_f8_z4.sd_vae_ft_ema_ldm": SD,
    "ldm_f8_z4.sd15_fp16": SD,
    "ldm_f8_z4.sdxl_ldm": SDXL,
    "ldm_f8_z4.sdxl_fp16_fix_ldm": SDXL,
    "ldm_f8_z4.eq_vae": SD,  # eqvae train_gen/extract_features.py and train_gen/sample_ddp.py, --vae-scaling-factor
    "ldm_f8_z4.eq_vae_ema": SD,
    "ldm_f8_z4.playground25": {  # ComfyUI comfy/latent_formats.py, SDXL_Playground_2_5
        "scale": 0.5,
        "mean": (-1.6574, 1.886, -1.383, 2.5155),
        "std": (8.4927, 5.9022, 6.5498, 5.2299),
    },
    "ldm_f8_z4.kandinsky20": {"scale": 0.0512},  # Kandinsky-2 kandinsky2/configs.py
    "ldm_f4_z4.x4_upscaler": {"scale": 0.08333},  # diffusers pipeline_stable_diffusion_upscale.py
    "ldm_f8_z16.sd3": SD3,
    "ldm_f8_z16.sd35": SD3,
    "ldm_f8_z16.flux1": FLUX1,
    "ldm_f8_z16.flux1_fp32": FLUX1,
    "flux2_f8_z32.flux2": FLUX2,
    "flux2_f8_z32.flux2_fp32": FLUX2,
    "flux2_small_f8_z32.flux2_small": FLUX2,
    "flux2_small_f8_z32.flux2_small_bfl": FLUX2,
    "mar_f16_z16.kl16": {"scale": 0.2325},  # mar engine_mar.py
    "asym_x1_5_f8_z4.asym": SD,  # diffusers models/autoencoders/autoencoder_asym_kl.py
    "asym_x2_f8_z4.asym": SD,
    "cosmos_f8_z16.cosmos_ci8": SCALED,
    "cosmos_f16_z16.cosmos_ci16": SCALED,
    "taesd_f8_z4.taesd": SCALED,
    "taesd_f8_z4.taesdxl": SCALED,
    "taesd_f8_z16.taef1": SCALED,
    "taesd_f8_z16.taesd3": SCALED,
    "taef2_f8_z32.taef2": {**SCALED, "pack": 2},  # those of FLUX.2, which flux2 src/flux2/autoencoder.py packs
    "taesana_f32_z32.taesana": SCALED,
    "dcae_f32_z32.imagenet": {"scale": 0.3189},  # efficientvit applications/dc_ae/README.md, and so are the next five
    "dcae_f32_z32.mix": {"scale": 0.4552},
    "dcae_f64_z128.imagenet": {"scale": 0.2889},
    "dcae_f64_z128.mix": {"scale": 0.4538},
    "dcae_f128_z512.imagenet": {"scale": 0.4883},
    "dcae_f128_z512.mix": {"scale": 0.362},
    "dcae_lite_f32_z32.lite": SANA,  # DC-Gen dc_gen/aecore/models/dc_ae.py
    "sana_f32_z32.sana10": SANA,
    "sana_f32_z32.sana11": SANA,
    "hunyuanimage_f32_z64.hunyuanimage21": HUNYUAN,
    "hunyuanimage_f32_z64.hunyuanimage21_ckpt": HUNYUAN,
    "qwenimage_f8_z16.qwen_image": WAN,
    "qwenimage_f8_z16.wan21": WAN,
    "qwenimage_f8_z16.qwen_image_comfy": WAN,
    "qwenimage_f8_z16.wan21_comfy": WAN,
    "qwenimage_f8_z16.wan21_pth": WAN,
}
RECORDS = {t.name: t.record for t in all_records()}
STATED = {name: record for name, record in RECORDS.items() if record.latent_stats is not None}
THEIRS = [name for name, record in STATED.items() if not record.bundled]


def test_every_statistic_of_others_is_expected_here():
    assert sorted(THEIRS) == sorted(EXPECTED)


@pytest.mark.parametrize("name", THEIRS)
def test_the_statistics_are_those_of_the_pipeline_that_ships_with_the_weights(name):
    assert RECORDS[name].latent_stats == LatentStats(**EXPECTED[name])
    assert re.search(r"\.(py|yaml|md)\b", RECORDS[name].statistics_source)


@functools.cache
def micro(channels: int) -> vaezoo.VAE:
    """The micro network with this number of latent channels, whose statistics the next test replaces."""
    return vaezoo.create("vae_f8_z4_micro", overrides={"latent.channels": channels})


@pytest.mark.parametrize("name", STATED)
def test_denormalizing_undoes_normalizing(name):
    stats, channels = RECORDS[name].latent_stats, int(re.search(r"_z(\d+)", name)[1])
    if stats.in_file:  # any will do here: those of the file are the loader's business
        packed = channels * stats.pack**2
        stats = replace(stats, mean=tuple(torch.randn(packed).tolist()), var=tuple(torch.rand(packed).tolist()))
    vae = micro(channels)
    vae.latent_stats = stats
    z = torch.randn(2, channels, 4, 6) * 3 + 1
    assert torch.allclose(vae.denormalize(vae.normalize(z)), z, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "formula"), [
    ("ldm_f8_z4.sdxl", lambda z: z * 0.13025),
    ("ldm_f8_z16.sd3", lambda z: (z - 0.0609) * 1.5305),
    ("ldm_f8_z4.playground25", lambda z: (z + 1.6574) / 8.4927 * 0.5),
    ("qwenimage_f8_z16.wan21", lambda z: (z + 0.7571) / 2.8184),
])  # fmt: skip
def test_the_first_channel_is_normalized_as_the_pipeline_does(name, formula):
    channels = int(re.search(r"_z(\d+)", name)[1])
    vae = vaezoo.create("vae_f8_z4_micro", overrides={"latent.channels": channels})
    vae.latent_stats = RECORDS[name].latent_stats
    normalized = vae.normalize(torch.full((1, channels, 2, 2), 7.5))
    assert normalized[0, 0, 0, 0].item() == pytest.approx(formula(7.5), rel=1e-5)


def test_latents_of_taef2_have_the_shape_of_those_of_flux2():
    vae = vaezoo.create("taef2_f8_z32")
    vae.latent_stats = RECORDS["taef2_f8_z32.taef2"].latent_stats
    z = torch.randn(1, 32, 4, 6)
    assert torch.equal(vae.normalize(z), torch.nn.functional.pixel_unshuffle(z, 2))  # (B, 128, 2, 3)
    bn = vaezoo.as_diffusers(vae).bn
    assert bn.running_mean.tolist() == [0.0] * 128
    assert bn.running_var.tolist() == [1.0] * 128


def test_the_bundled_weights_say_at_which_size_their_statistics_were_measured(capsys):
    ours = {name: stats for name in vaezoo.list_pretrained("vae_*") if (stats := RECORDS[name].latent_stats)}
    assert ours
    assert {stats.size for stats in ours.values()} == {256}
    assert "latent statistics measured on images of 256 pixels per side" in run(capsys, "describe", "vae_f8_z4_micro")
    with pytest.raises(vaezoo.SpecError, match=r"latent_stats\.size must be from 1 to 65,536"):
        LatentStats(scale=1.0, size=0).check(4, "mine")


def test_the_size_of_statistics_changes_no_spec_hash_and_no_result():
    vae = vaezoo.create("vae_f8_z4_micro")
    z = torch.randn(1, 4, 2, 2)
    found = []
    for size in (None, 256):
        vae.latent_stats = LatentStats(scale=2.0, size=size)
        found.append((vae.spec.hash, vae.normalize(z).tolist()))
    assert found[0] == found[1]
    assert LatentStats(scale=2.0).to_dict() == {"scale": 2.0}
