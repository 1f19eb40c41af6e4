"""PSNR by hand, and the reconstruction protocol on tiny pictures and on the photos behind the published number."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

import vaezoo
from vaezoo.data.photos import photo_files, photos
from vaezoo.errors import FileError, ImageError, InputError
from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.evaluation.protocol import PROTOCOLS, evaluate
from vaezoo.io.resize_and_pad import resize_and_crop
from vaezoo.nn.distributions import Deterministic

FIRST = PROTOCOLS["reconstruction-1"]


def test_psnr_of_a_constant_shift_is_known_by_hand():
    images = torch.zeros(3, 3, 4, 4)
    shifted = images + torch.tensor([0.2, 0.02, 1.0]).view(3, 1, 1, 1)
    torch.testing.assert_close(psnr(images, shifted), torch.tensor([20, 40, 20 * math.log10(2)], dtype=torch.float64))


def test_psnr_is_that_of_8_bit_pictures_with_peak_255():
    a, b = (np.random.default_rng(seed).integers(0, 256, (9, 7, 3), np.uint8) for seed in (0, 1))
    error = ((a.astype(float) - b.astype(float)) ** 2).mean()
    measured = psnr(vaezoo.to_tensor(a), vaezoo.to_tensor(b))
    assert measured.item() == pytest.approx(10 * math.log10(255**2 / error), abs=1e-5)


def test_psnr_clamps_the_reconstruction_and_is_infinite_for_equal_images():
    white = torch.ones(1, 3, 2, 2)
    assert psnr(white, white).item() == math.inf
    assert psnr(white, 3 * white).item() == math.inf
    assert psnr(white, -9 * white).item() == 0


def test_psnr_of_half_precision_is_computed_in_double_and_shapes_must_agree():
    assert psnr(torch.zeros(1, 3, 4, 4).half(), torch.full((1, 3, 4, 4), 0.5).half()).item() == pytest.approx(12.0412)
    with pytest.raises(InputError, match=r"\(1, 3, 4, 4\) and \(1, 1, 4, 4\) differ"):
        psnr(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4))


@pytest.fixture
def folder(tmp_path):
    """Three pictures of different sizes and kinds, one in a subfolder, and a file that is none."""
    (tmp_path / "sub").mkdir()
    generator = np.random.default_rng(0)
    for name, height, width in [("b.png", 40, 24), ("a.JPG", 24, 24), ("sub/c.webp", 60, 90)]:
        Image.fromarray(generator.integers(0, 256, (height, width, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_photos_finds_pictures_in_subfolders_by_name_and_says_where_there_are_none(folder):
    assert [path.name for path in photos(folder)] == ["a.JPG", "b.png", "sub/c.webp"]
    for empty, message in (("missing", "no such file or folder"), ("notes.txt", "not a folder; name a folder")):
        with pytest.raises(FileError, match=message):
            photos(folder / empty)


def test_evaluate_measures_every_picture_as_one_would_by_hand(folder):
    vae = vaezoo.create("vae_f8_z4_micro")
    result = evaluate(vae, photos(folder), 16, FIRST)
    assert result.names == ("a.JPG", "b.png", "sub/c.webp")
    values, latents, stds = [], [], []
    for photo in photos(folder):
        images = vaezoo.to_tensor(resize_and_crop(Image.open(folder / photo.name), 16))
        with torch.no_grad():
            out = vae(images)
        values.append(psnr(images, out.reconstruction).item())
        latents.append(out.posterior.mean)
        stds.append(out.posterior.std.mean().item())
    assert result.psnr == pytest.approx(values, abs=1e-4)
    assert result.mean_psnr == pytest.approx(sum(values) / 3, abs=1e-4)
    assert result.figures["latent_mean"] == pytest.approx(torch.cat(latents).mean(dim=(0, 2, 3)).tolist(), abs=1e-5)
    assert result.figures["latent_std"] == pytest.approx(
        torch.cat(latents).std(dim=(0, 2, 3), correction=0).tolist(), abs=1e-5
    )
    assert result.figures["posterior_std"] == pytest.approx(sum(stds) / 3, abs=1e-5)


def test_the_reference_of_a_half_precision_model_is_the_photo_itself(folder):
    """A model that is the identity but for its precision has the error of that precision, not none."""

    class Identity:
        device, dtype = torch.device("cpu"), torch.bfloat16

        def encode(self, images):
            return Deterministic(images)

        def decode(self, z):
            return z

    assert all(50 < value < 90 for value in evaluate(Identity(), photos(folder), 16, FIRST).psnr)


def test_evaluate_refuses_no_photos_a_wrong_size_and_a_file_that_is_no_picture(folder):
    vae = vaezoo.create("vae_f8_z4_micro")
    with pytest.raises(InputError, match="no photos"):
        evaluate(vae, [])
    with pytest.raises(InputError, match="multiples of 8"):
        evaluate(vae, photos(folder), size=20)
    with pytest.raises(ImageError, match=r"notes\.txt"):
        evaluate(vae, photo_files([folder / "notes.txt"]), size=16)


def test_evaluate_goes_through_the_progress_that_it_is_given(folder):
    seen = []

    def progress(paths):
        for index, photo in paths:
            seen.append(photo.name)
            yield index, photo

    evaluate(vaezoo.create("vae_f8_z4_micro"), photos(folder), size=16, track=progress)
    assert seen == ["a.JPG", "b.png", "sub/c.webp"]


@pytest.mark.slow
def test_the_bundled_weights_reach_the_published_quality_on_the_validation_photos(shared):
    result = evaluate(vaezoo.create("vae_f8_z4", pretrained=True), photos(shared / "photos" / "val"), 256, FIRST)
    assert len(result.psnr) == 25
    assert result.mean_psnr == pytest.approx(25.32, abs=0.02)
