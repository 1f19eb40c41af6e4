"""The model card: valid front matter, the network, and only numbers that were measured or counted."""

import pytest
import torch
from huggingface_hub import ModelCard
from support.small import on_meta

import vaezoo
from vaezoo.analysis.costs import costs
from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.inference.reconstruct import reconstruct
from vaezoo.io.images import save_picture
from vaezoo.sharing import card
from vaezoo.sharing.card import SampleReconstructions, card_text, show_samples
from vaezoo.specs.catalog import data_dir


@pytest.fixture(scope="module")
def vae():
    return vaezoo.create("vae_f8_z4_micro")


def test_the_front_matter_is_what_a_hub_reads(vae):
    card = ModelCard(card_text(vae, "mit", "alice/photos", SampleReconstructions(torch.zeros(3, 8, 8), 12.346, 4)))
    assert (card.data.library_name, card.data.license) == ("vaezoo", "mit")
    assert (card.data.model_name, card.data.pipeline_tag) == ("photos", "image-to-image")
    assert {"vae", "f8", "z4"} <= set(card.data.tags)
    result = card.data.eval_results[0]
    assert (result.metric_type, result.metric_value) == ("psnr", 12.35)


def test_nothing_is_said_that_is_not_known(vae):
    text = card_text(vae, None)
    card = ModelCard(text)
    assert card.data.license is None
    assert card.data.eval_results is None
    assert "PSNR" not in text
    assert "reconstruction](" not in text
    assert "None" not in text
    assert 'vaezoo.create("local-dir:FOLDER", pretrained=True)' in text


def test_parameters_and_hash_are_those_of_the_network(vae):
    text = card_text(vae, "mit", "alice/photos")
    assert 'vaezoo.create("hf-hub:alice/photos", pretrained=True)' in text
    for half in (vae.encoder, vae.decoder):
        assert f"| {sum(p.numel() for p in half.parameters()):,} |" in text
    assert vae.spec.hash in text


@pytest.fixture(scope="module")
def counted(vae):
    return costs(vae.spec)


@pytest.mark.parametrize("name", vaezoo.list_models())
def test_the_yaml_on_a_card_is_the_network(name, tmp_path, monkeypatch, counted):
    monkeypatch.setattr(card, "costs", lambda *_: counted)  # counting is what takes long, and is not asked here
    vae = on_meta(name)
    (tmp_path / "shown.yaml").write_text(card_text(vae, "mit").split("```yaml\n")[1].split("```")[0])
    assert vaezoo.get_spec(str(tmp_path / "shown.yaml")).hash == vae.spec.hash


def test_the_lines_on_a_card_run(vae, tmp_path, monkeypatch):
    vaezoo.save(vae, tmp_path)
    save_picture(torch.rand(1, 3, 60, 41) * 2 - 1, tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    lines = (tmp_path / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    exec(lines.replace("FOLDER", "."), {})
    assert vaezoo.load_image("reconstruction.png").shape == (1, 3, 64, 48)


def test_latent_statistics_stand_on_the_card():
    vae = vaezoo.create("vae_f8_z4_micro", device="meta")
    vae.latent_stats = vaezoo.LatentStats(scale=0.5, shift=0.25)
    assert "| latents: scale | 0.5 |" in card_text(vae, "mit")


@pytest.mark.slow
def test_the_sample_photos_are_what_is_measured_and_shown(vae):
    paths = sorted((data_dir("configs") / "samples").glob("*.png"))
    shown = show_samples(vae)
    assert shown.images == len(paths)
    images = [vaezoo.load_image(path) for path in paths]
    assert {tuple(image.shape[-2:]) for image in images} == {(256, 256)}  # as the card says
    values = [psnr(image, reconstruct(vae, image)).item() for image in images]
    assert shown.psnr == pytest.approx(sum(values) / len(values))
    height, width = shown.picture.shape[1:]
    assert height >= 256 * len(paths)
    assert width >= 3 * 256
    assert torch.equal(shown.picture[:, :256, :256], images[0][0])


def test_a_model_that_is_not_for_photos_has_no_picture():
    vae = vaezoo.create("vae_f8_z4_micro", overrides={"image.channels": 1})
    assert show_samples(vae) is None
