"""What pipelines of diffusers read of an adapter beside calling it: its config, statistics and attributes."""

import re
from pathlib import Path
from types import SimpleNamespace

import diffusers
import pytest
import torch
from support.tiny_pipeline import LDM, small

import vaezoo

MEAN, STD = (0.1, -0.2, 0.3, -0.4), (0.5, 1.0, 2.0, 4.0)

# What pipelines for images read; the rest of diffusers is for video and sound, or asks for its own classes first.
FOLDERS = [
    "chroma",
    "controlnet",
    "flux",
    "flux2",
    "hunyuan_image",
    "kolors",
    "latent_consistency_models",
    "lumina2",
    "pag",
    "pixart_alpha",
    "sana",
    "stable_diffusion",
    "stable_diffusion_3",
    "stable_diffusion_xl",
    "t2i_adapter",
    "z_image",
]


def images():
    return torch.rand(2, 3, 16, 32) * 2 - 1


def test_scale_and_shift_are_what_flux_reads(tmp_path):
    vae = small(tmp_path, LDM, scale=0.36, shift=0.12)
    pipeline = SimpleNamespace(vae=vaezoo.as_diffusers(vae))
    x = images()
    found = diffusers.FluxImg2ImgPipeline._encode_vae_image(pipeline, x, torch.Generator().manual_seed(7))
    assert torch.allclose(found, vae.normalize(vae.encode(x).sample(torch.Generator().manual_seed(7))), atol=1e-5)
    vae.latent_stats = vaezoo.LatentStats(scale=0.36)
    assert vaezoo.as_diffusers(vae).config.shift_factor == 0.0


@pytest.mark.parametrize("scale", [None, 0.13])
def test_mean_and_std_are_what_sdxl_reads(tmp_path, scale):
    vae = small(tmp_path, LDM, mean=MEAN, std=STD, scale=scale)
    adapter, x = vaezoo.as_diffusers(vae), images()
    pipeline = SimpleNamespace(vae=adapter)
    arguments = (None, 2, 1, torch.float32, "cpu", torch.Generator().manual_seed(7), False)
    found = diffusers.StableDiffusionXLImg2ImgPipeline.prepare_latents(pipeline, x, *arguments)
    assert torch.allclose(found, vae.normalize(vae.encode(x).sample(torch.Generator().manual_seed(7))), atol=1e-5)
    assert adapter.config.scaling_factor == (scale or 1.0)


@pytest.mark.parametrize("spread", [{"var": (0.5, 1, 2, 3) * 4, "eps": 1e-4}, {"std": (0.5, 1, 2, 3) * 4}])
@pytest.mark.parametrize("scale", [None, 0.5])
def test_packed_statistics_are_the_batch_norm_that_flux2_reads(tmp_path, spread, scale):
    vae = small(tmp_path, LDM, mean=(0.1, 0.2, 0.3, 0.4) * 4, **spread, scale=scale, pack=2)
    adapter, x = vaezoo.as_diffusers(vae), images()
    pipeline = SimpleNamespace(vae=adapter, _patchify_latents=diffusers.Flux2Pipeline._patchify_latents)
    found = diffusers.Flux2Pipeline._encode_vae_image(pipeline, x, torch.Generator())
    assert torch.allclose(found, vae.normalize(vae.encode(x).mode()), atol=1e-5)
    assert not hasattr(adapter.config, "scaling_factor")
    assert adapter.bn.running_mean.dtype == torch.float32


def test_a_packing_that_no_pipeline_has_is_refused(tmp_path):
    vae = small(tmp_path, LDM, scale=1.0, pack=4)
    with pytest.raises(vaezoo.InputError, match="packed by 4; pipelines of diffusers pack by 2"):
        vaezoo.as_diffusers(vae)


def test_unknown_statistics_are_refused_with_the_remedy(tmp_path):
    vae = small(tmp_path, LDM, scale=1.0)
    vae.latent_stats = None
    with pytest.raises(vaezoo.InputError, match=r"latent statistics.*unknown.*vae\.latent_stats = "):
        vaezoo.as_diffusers(vae)
    with pytest.raises(vaezoo.InputError, match=r"a Conv2d is not a vaezoo\.VAE"):
        vaezoo.as_diffusers(torch.nn.Conv2d(1, 1, 1))


def test_a_downscale_that_pipelines_cannot_compute_is_refused():
    vae = vaezoo.create("vae_f8_z4_micro")
    vae.latent_stats = vaezoo.LatentStats(scale=1.0)
    vae._downscale = 6
    with pytest.raises(vaezoo.InputError, match="has 6 pixels per latent pixel"):
        vaezoo.as_diffusers(vae)


def test_the_config_answers_as_attribute_as_item_and_as_dict(tmp_path):
    adapter = vaezoo.as_diffusers(small(tmp_path, LDM, scale=0.5))
    config = adapter.config
    assert config.scaling_factor == config["scaling_factor"] == config.get("scaling_factor") == 0.5
    assert "shift_factor" in config
    assert config.get("nonsense", 3) == getattr(config, "nonsense", 3) == 3
    with pytest.raises(AttributeError, match="has no z_dim; it has in_channels, "):
        _ = config.z_dim
    adapter.register_to_config(force_upcast=False)
    assert config.force_upcast is False
    assert {**config}["latent_channels"] == 4


@pytest.mark.parametrize(
    ("network", "widths"),
    [
        ("ldm_f8_z4", (128, 256, 512, 512)),
        ("cosmos_f16_z16", (48, 48, 256, 512, 512)),  # two levels in one row, the Haar transform
        ("taesd_f8_z4", (64, 64, 64, 64)),
        ("hunyuanimage_f32_z64", (256, 512, 512, 1024, 1024, 1024)),
    ],
)
def test_pipelines_compute_the_downscale_from_block_out_channels(network, widths):
    vae = vaezoo.nn.build.build(vaezoo.get_spec(network), "meta")
    vae.latent_stats = vaezoo.LatentStats(scale=1.0)
    adapter = vaezoo.as_diffusers(vae)
    assert adapter.config.block_out_channels == adapter.config.encoder_block_out_channels == widths
    assert 2 ** (len(widths) - 1) == vae.downscale == adapter.spatial_compression_ratio


def read_by_pipelines(pattern: str) -> set[str]:
    root = Path(diffusers.__file__).parent / "pipelines"
    texts = [path.read_text(encoding="utf-8") for name in FOLDERS for path in sorted((root / name).glob("*.py"))]
    return {match for text in texts for match in re.findall(pattern, text)}


def test_all_that_image_pipelines_read_of_a_vae_is_there(tmp_path):
    flux2 = vaezoo.as_diffusers(small(tmp_path, LDM, mean=(0.0,) * 16, std=(1.0,) * 16, pack=2))
    adapter = vaezoo.as_diffusers(small(tmp_path, LDM, scale=0.5))
    attributes = read_by_pipelines(r"\bself\.vae\.(\w+)")
    entries = read_by_pipelines(r"\bvae\.config\.(\w+)")
    assert {"encode", "decode", "dtype", "to", "config", "bn"} <= attributes
    assert {"scaling_factor", "shift_factor", "block_out_channels", "latents_mean", "batch_norm_eps"} <= entries
    assert [name for name in sorted(attributes) if not hasattr(adapter, name) and not hasattr(flux2, name)] == []
    assert [name for name in sorted(entries) if name not in adapter.config and name not in flux2.config] == []
