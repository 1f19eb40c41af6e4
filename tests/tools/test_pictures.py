"""Pictures that commands draw: interpolations, latents, samples."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from support.commands import run

import vaezoo
from vaezoo.cli import main
from vaezoo.evaluation.latent_sheet import latent_sheet
from vaezoo.nn.distributions import Deterministic


@pytest.fixture
def micro(tmp_path, monkeypatch):
    """A saved micro network with latent statistics, in the current folder, with two pictures."""
    monkeypatch.chdir(tmp_path)
    vae = vaezoo.create("vae_f8_z4_micro")
    vae.latent_stats = vaezoo.LatentStats(mean=(0.0,) * 4, std=(1.0,) * 4)
    vaezoo.save(vae, "micro")
    for name, size in {"a.jpg": (50, 37), "b.png": (64, 64)}.items():
        Image.effect_noise(size, 60).convert("RGB").save(name)
    return "local-dir:micro"


def test_interpolate_draws_two_rows_whose_ends_are_the_same(capsys, micro):
    run(capsys, "interpolate", "a.jpg", "b.png", "--model", micro, "--steps", 3, "--size", 32, "-o", "way.png")
    sheet = vaezoo.load_image("way.png")
    assert sheet.shape[3] == 3 * 128 + 2 * 4  # enlarged by 4
    second = (sheet.shape[2] + 4) // 2
    upper, lower = sheet[..., :128, :], sheet[..., second : second + 128, :]
    assert (upper[..., :128] - lower[..., :128]).abs().max() <= 2 / 255
    assert not torch.equal(upper[..., 132:260], lower[..., 132:260])
    captions = sheet[..., 128 : second - 4, :]
    assert captions.shape[2] == 20  # a line below the images
    assert captions.min() < -0.5


def test_interpolate_takes_sample_photos_and_says_what_is_seen(capsys, micro):
    text = run(capsys, "interpolate", "--model", micro, "--steps", 2, "--size", 32)
    assert "from kitten_on_lawn.png on the left (t = 0) to perched_osprey.png on the right (t = 1)" in text
    assert Path("interpolation.png").is_file()
    assert main(["interpolate", "a.jpg", "--model", micro]) == 2
    assert "a.jpg: name two images, or none for two sample photos" in capsys.readouterr().err


def test_latents_are_drawn_by_channel_as_colors_and_with_their_spread(capsys, micro):
    text = run(capsys, "latents", "--model", micro, "--size", 32)
    assert "each channel of the latents" in text
    sheet = vaezoo.load_image("latents.png")
    assert sheet.shape[3] == 4 * 128 + 3 * 4  # image, reconstruction, colors, spread; below 4 channels
    assert sheet.shape[2] > 2 * 128
    deterministic = Deterministic(torch.randn(1, 6, 4, 4))
    images = torch.zeros(1, 3, 32, 32)
    drawn = latent_sheet(images, images, 20.0, deterministic, "gray")
    assert drawn.shape[2] == 4 * 128 + 3 * 4
    assert (drawn[:, :128, 3 * 132 :] == 0.8).all()  # no spread


def test_sample_says_what_it_is_and_repeats_with_its_seed(capsys, micro):
    text = run(capsys, "sample", micro, "--count", 5, "--size", 16, "-o", "one.png")
    assert "not a generative model" in text
    run(capsys, "sample", micro, "--count", 5, "--size", 16, "-o", "two.png")
    run(capsys, "sample", micro, "--count", 5, "--size", 16, "--seed", 1, "-o", "three.png")
    assert Path("one.png").read_bytes() == Path("two.png").read_bytes() != Path("three.png").read_bytes()


def test_sample_into_a_folder_writes_one_picture_each(capsys, micro):
    run(capsys, "sample", micro, "--count", 3, "--size", 16, "-o", "draws")
    assert sorted(path.name for path in Path("draws").iterdir()) == [f"sample_000{index}.png" for index in range(3)]
