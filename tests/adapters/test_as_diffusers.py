"""Zoo networks inside pipelines of diffusers: `vaezoo.as_diffusers`."""

import json
import pickle
import sys
from types import SimpleNamespace

import diffusers
import pytest
import torch
from support.representatives import first_of
from support.tiny_pipeline import DETERMINISTIC, DOCUMENTED, LDM, parts, small, twin

import vaezoo
from vaezoo.adapters import as_diffusers
from vaezoo.inference import executor


@pytest.fixture
def pipelines(tmp_path):
    """Text-to-image and image-to-image pipelines around a VAE; the other parts have the same weights each time."""
    common = parts(tmp_path)

    def build(vae):
        image = diffusers.StableDiffusionImg2ImgPipeline(vae=vae, **common)
        text = diffusers.StableDiffusionPipeline(vae=vae, **common)
        for pipeline in (text, image):
            pipeline.set_progress_bar_config(disable=True)
        return text, image

    return build


def draw(text, count=1):
    """Images of 32 x 16 pixels from words."""
    generator = torch.Generator().manual_seed(1)
    arguments = {"num_inference_steps": 2, "num_images_per_prompt": count, "generator": generator}
    return text("a cat", height=32, width=16, output_type="pt", **arguments).images


def redraw(image, generator):
    """Images of 32 x 16 pixels from words and images."""
    photos = torch.rand(2, 3, 32, 16, generator=torch.Generator().manual_seed(2))
    arguments = {"num_inference_steps": 4, "strength": 0.5, "generator": generator, "output_type": "pt"}
    return image(["a cat", "a dog"], image=photos, **arguments).images


def images():
    return torch.rand(2, 3, 16, 32) * 2 - 1


def test_text_to_image_is_that_of_the_same_weights_in_diffusers(pipelines, tmp_path):
    vae = small(tmp_path, LDM, scale=0.5)
    ours = draw(pipelines(vaezoo.as_diffusers(vae))[0])
    theirs = draw(pipelines(twin(vae))[0])
    assert ours.shape == (1, 3, 32, 16)
    assert ours.std() > 0.01
    assert (ours - theirs).abs().max() < 1e-4


def test_image_to_image_is_that_of_the_same_weights_in_diffusers(pipelines, tmp_path):
    vae = small(tmp_path, LDM, scale=0.5)
    seeds = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    ours = redraw(pipelines(vaezoo.as_diffusers(vae))[1], seeds)
    seeds = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    theirs = redraw(pipelines(twin(vae))[1], seeds)
    assert ours.shape == (2, 3, 32, 16)
    assert (ours - theirs).abs().max() < 1e-4


@pytest.mark.parametrize("text", first_of([DOCUMENTED, DETERMINISTIC]), ids=["documented", "deterministic"])
def test_networks_that_diffusers_lacks_run_in_its_pipelines(pipelines, tmp_path, text):
    adapter = vaezoo.as_diffusers(small(tmp_path, text, scale=0.5))
    text_to_image, image_to_image = pipelines(adapter)
    assert text_to_image.vae_scale_factor == 2
    drawn = draw(text_to_image, count=2)
    assert drawn.shape == (2, 3, 32, 16)
    assert redraw(image_to_image, torch.Generator().manual_seed(3)).shape == (2, 3, 32, 16)
    adapter.enable_slicing()
    assert torch.allclose(draw(text_to_image, count=2), drawn, atol=1e-5)


def test_a_pipeline_in_another_dtype_takes_the_network_along(pipelines, tmp_path):
    vae = small(tmp_path, DOCUMENTED, scale=0.5)
    text, _ = pipelines(vaezoo.as_diffusers(vae))
    text.to(torch.bfloat16)
    assert vae.dtype == text.vae.dtype == torch.bfloat16
    assert draw(text).shape == (1, 3, 32, 16)


@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks` argument:UserWarning")  # which diffusers passes on
def test_diffusers_loads_a_saved_pipeline_with_equal_outputs(pipelines, tmp_path):
    vae = small(tmp_path, LDM, scale=0.5)
    adapter = vaezoo.as_diffusers(vae)
    text, _ = pipelines(adapter)
    adapter.register_to_config(force_upcast=False)
    text.save_pretrained(tmp_path / "pipe")
    index = json.loads((tmp_path / "pipe/model_index.json").read_text(encoding="utf-8"))
    assert index["vae"] == ["diffusers", "AutoencoderKL"]
    again = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "pipe", low_cpu_mem_usage=False)
    assert type(again.vae) is diffusers.AutoencoderKL
    assert again.vae.config.force_upcast is False
    again.set_progress_bar_config(disable=True)
    assert torch.allclose(draw(again), draw(text), atol=1e-5)
    given = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "pipe", vae=adapter, low_cpu_mem_usage=False)
    assert given.vae is adapter


def test_saving_what_no_class_expresses_is_refused_before_anything_is_written(pipelines, tmp_path):
    text, _ = pipelines(vaezoo.as_diffusers(small(tmp_path, DOCUMENTED, scale=0.5)))
    with pytest.raises(vaezoo.CheckpointError, match=r"the nearest is AutoencoderKL, except for .*save it with vaezoo"):
        text.save_pretrained(tmp_path / "pipe")
    assert not (tmp_path / "pipe").exists()


def test_without_diffusers_an_adapter_works_and_is_saved(tmp_path, monkeypatch):
    vae = small(tmp_path, LDM, scale=0.5)
    as_diffusers._pipeline_class.cache_clear()
    monkeypatch.setitem(sys.modules, "diffusers", None)  # which import takes for a missing package
    adapter = vaezoo.as_diffusers(vae)
    as_diffusers._pipeline_class.cache_clear()
    assert type(adapter) is as_diffusers.DiffusersVAE
    adapter.save_pretrained(tmp_path / "vae")
    assert vaezoo.create(f"local-dir:{tmp_path / 'vae'}").spec.hash == vae.spec.hash


def test_an_adapter_is_saved_with_its_variant_and_never_as_a_pickle(tmp_path):
    adapter = vaezoo.as_diffusers(small(tmp_path, LDM, scale=0.5))
    adapter.save_pretrained(tmp_path / "vae", variant="fp16")
    assert sorted(p.name for p in (tmp_path / "vae").iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.fp16.safetensors",
    ]
    with pytest.raises(vaezoo.InputError, match="safetensors, not pickles"):
        adapter.save_pretrained(tmp_path / "other", safe_serialization=False)
    with pytest.raises(vaezoo.InputError, match=r"variant '\.\./x' is part of a file name"):
        adapter.save_pretrained(tmp_path / "other", variant="../x")
    assert not (tmp_path / "other").exists()
    again, x = pickle.loads(pickle.dumps(adapter)), images()  # noqa: S301 - made here
    assert type(again) is type(adapter)
    assert again(x).sample.equal(adapter(x).sample)


def test_encode_decode_and_forward_answer_as_in_diffusers(tmp_path):
    vae = small(tmp_path, LDM, scale=0.5)
    ours, theirs, x = vaezoo.as_diffusers(vae), twin(vae), images()
    with torch.no_grad():
        mine, other = ours.encode(x).latent_dist, theirs.encode(x).latent_dist
        for name in ("parameters", "mean", "logvar", "std", "var"):
            assert torch.allclose(getattr(mine, name), getattr(other, name), atol=1e-5), name
        assert torch.allclose(mine.mode(), other.mode(), atol=1e-5)
        z = mine.sample(torch.Generator().manual_seed(5))
        assert torch.allclose(z, other.sample(torch.Generator().manual_seed(5)), atol=1e-5)
        assert torch.allclose(mine.kl(), other.kl(), rtol=1e-4)
        assert torch.allclose(mine.kl(mine), other.kl(other), atol=1e-3)
        assert torch.allclose(mine.nll(z), other.nll(z), rtol=1e-4)
        assert ours.encode(x, return_dict=False)[0].mean.equal(mine.mean)
        for decoded in (ours.decode(z).sample, ours.decode(z, return_dict=False, generator=None)[0]):
            assert torch.allclose(decoded, theirs.decode(z).sample, atol=1e-5)
        for posterior in (False, True):
            arguments = {"sample_posterior": posterior, "generator": torch.Generator().manual_seed(6)}
            seeded = {"sample_posterior": posterior, "generator": torch.Generator().manual_seed(6)}
            assert torch.allclose(ours(x, **arguments).sample, theirs(x, **seeded).sample, atol=1e-5)
    assert not hasattr(ours.encode(x), "latents")


def test_a_deterministic_network_also_gives_latents(tmp_path):
    vae = small(tmp_path, DETERMINISTIC, scale=0.5)
    x = images()
    encoded = vaezoo.as_diffusers(vae).encode(x)
    expected = vae.encode(x).mode()
    assert encoded.latents.equal(expected)
    assert encoded.latent.equal(expected)
    assert encoded.latent_dist.sample(torch.Generator()).equal(expected)


def test_slicing_changes_memory_only(tmp_path, monkeypatch):
    vae = small(tmp_path, LDM, scale=0.5)
    adapter, x, sizes = vaezoo.as_diffusers(vae), images(), []
    whole = adapter(x).sample
    vae.encoder.register_forward_pre_hook(lambda module, arguments: sizes.append(len(arguments[0])))
    vae.decoder.register_forward_pre_hook(lambda module, arguments: sizes.append(len(arguments[0])))
    adapter.enable_slicing()
    assert torch.allclose(adapter(x).sample, whole, atol=1e-5)
    assert sizes == [1, 1, 1, 1]
    adapter.disable_slicing()
    adapter(x)
    assert sizes[4:] == [2, 2]


def test_tiling_gives_what_the_whole_image_gives(tmp_path, monkeypatch):
    adapter, x = vaezoo.as_diffusers(small(tmp_path, LDM, scale=0.5)), images()
    whole = adapter(x).sample
    monkeypatch.setattr(executor, "free_bytes", lambda device: 1)  # so that it takes the lowest strips
    adapter.enable_tiling()
    with torch.inference_mode():
        tiled = adapter(x).sample
    assert torch.allclose(tiled, whole, atol=1e-5)
    assert tiled.dtype == whole.dtype
    adapter.disable_tiling()
    assert adapter.vae.executor is None


def test_a_pipeline_that_offloads_models_gets_the_weights_back_first(tmp_path):
    adapter, moved = vaezoo.as_diffusers(small(tmp_path, LDM, scale=0.5)), []
    adapter._hf_hook = SimpleNamespace(pre_forward=moved.append)
    adapter.encode(images())
    adapter.decode(torch.zeros(1, 4, 2, 2))
    assert len(moved) == 2
    assert moved[0] is adapter
