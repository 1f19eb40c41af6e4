"""ICC color profiles: photos are converted to sRGB, as formulas of the color spaces say."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from support.pictures import WHITE, noise, rgb, row, save
from support.profiles import INKS, cmyk_profile, gray_profile, rgb_profile, srgb_of, srgb_of_light

from vaezoo.errors import InputError
from vaezoo.io import images as vi
from vaezoo.io.color_profile import _conversion

GREEN = (60, 200, 90)
P3, ADOBE = rgb_profile("p3"), rgb_profile("adobe", 563 / 256)
SPACES = [(P3, lambda color: srgb_of("p3", color)), (ADOBE, lambda c: srgb_of("adobe", c, lambda x: x ** (563 / 256)))]


@pytest.mark.parametrize(("profile", "expected"), SPACES, ids=["P3", "Adobe RGB"])
@pytest.mark.parametrize(
    ("mode", "suffix", "options"),
    [("RGB", ".png", {}), ("RGBA", ".png", {}), ("P", ".png", {}), ("RGB", ".webp", {"lossless": True})],
)
def test_colors_of_a_profile_are_those_of_the_formulas(tmp_path, profile, expected, mode, suffix, options):
    colors = [GREEN, *itertools.product((0, 90, 255), repeat=3)]
    picture = row("RGB", *colors)
    picture = picture.convert("P", palette=Image.Palette.ADAPTIVE) if mode == "P" else picture.convert(mode)
    path = save(picture, tmp_path / f"a{suffix}", icc_profile=profile, **options)
    for found, color in zip(rgb(vi.load_image(path)), colors, strict=True):
        assert np.abs(found - expected(color)).max() < 1.6


def test_a_jpeg_in_p3_is_converted(tmp_path):
    path = save(Image.new("RGB", (16, 16), GREEN), tmp_path / "a.jpg", quality=100, subsampling=0, icc_profile=P3)
    assert np.abs(np.array(rgb(vi.load_image(path))) - srgb_of("p3", GREEN)).max() < 4


def test_colors_are_converted_before_they_are_composited_over_white(tmp_path):
    path = save(row("RGBA", (*GREEN, 128), (*GREEN, 0)), tmp_path / "a.png", icc_profile=P3)
    half, clear = rgb(vi.load_image(path))
    assert np.abs(half - (srgb_of("p3", GREEN) * 128 + 255 * 127) / 255).max() < 2
    assert clear == WHITE
    path = save(row("RGB", (1, 2, 3), GREEN), tmp_path / "b.png", transparency=(1, 2, 3), icc_profile=P3)
    assert rgb(vi.load_image(path))[0] == WHITE
    assert np.abs(rgb(vi.load_image(path))[1] - srgb_of("p3", GREEN)).max() < 1.6


@pytest.mark.parametrize("profile", [rgb_profile("srgb"), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))])
def test_a_profile_of_srgb_leaves_every_pixel_as_it_is(tmp_path, profile):
    data = profile if isinstance(profile, bytes) else profile.tobytes()
    path = save(Image.fromarray(noise(40, 50)), tmp_path / "a.png", icc_profile=data)
    assert torch.equal(vi.load_image(path), vi.to_tensor(noise(40, 50)))


@pytest.mark.parametrize("profile", [P3, gray_profile(1), b"damaged", cmyk_profile()])
@pytest.mark.filterwarnings("ignore:a color profile")
def test_a_profile_of_another_color_model_or_a_damaged_one_leaves_the_pixels_as_they_are(tmp_path, profile):
    for mode in {"L", "RGB", "1"} - {"RGB" if profile == P3 else "L" if profile == gray_profile(1) else ""}:
        picture = Image.fromarray(noise(8, 8)).convert(mode)
        path = save(picture, tmp_path / "a.png", icc_profile=profile)
        assert torch.equal(vi.load_image(path), vi.to_tensor(picture))


def test_gray_is_converted_with_its_opacity_and_at_sixteen_bits(tmp_path):
    levels, profile = [0, 20, 100, 200, 255], gray_profile(1.0)
    expected = srgb_of_light(np.array(levels) / 255)
    path = save(row("L", *levels), tmp_path / "a.png", icc_profile=profile)
    assert np.abs(np.array(rgb(vi.load_image(path))).T - expected).max() < 1
    path = save(row("LA", *((level, 255) for level in levels), (100, 0)), tmp_path / "b.png", icc_profile=profile)
    *found, clear = rgb(vi.load_image(path))
    assert np.abs(np.array(found).T - expected).max() < 1
    assert clear == WHITE
    wide = Image.fromarray(np.array([levels], np.uint16) * 257)
    found = np.asarray(vi.read_picture(save(wide, tmp_path / "c.png", icc_profile=profile)))
    assert np.abs(found / 257 - expected).max() < 1


def test_a_cmyk_jpeg_has_the_colors_of_its_inks(tmp_path):
    for ink, color in enumerate(INKS):
        picture = Image.new("CMYK", (16, 16), tuple(255 * (ink == channel) for channel in range(4)))
        path = save(picture, tmp_path / "a.jpg", quality=100, icc_profile=cmyk_profile())
        assert np.abs(np.array(rgb(vi.load_image(path))) - color).max() < 8
    path = save(Image.new("CMYK", (16, 16)), tmp_path / "a.jpg", quality=100, icc_profile=cmyk_profile())
    assert np.array(rgb(vi.load_image(path))).min() > 252


def test_a_damaged_profile_is_reported_once(tmp_path):
    _conversion.cache_clear()
    path = save(Image.new("RGB", (8, 8)), tmp_path / "a.png", icc_profile=b"damaged")
    with pytest.warns(UserWarning, match="a color profile of 7 bytes is damaged"):
        vi.load_image(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vi.load_image(path)


@pytest.mark.parametrize("trials", [10, pytest.param(150, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:a color profile")
def test_a_damaged_profile_gives_an_image(tmp_path, trials):
    rng = np.random.default_rng(0)
    for mode, profile in (("RGB", P3), ("L", gray_profile(1.8)), ("CMYK", cmyk_profile())):
        for trial in range(trials):
            damaged = np.frombuffer(profile, np.uint8).copy()
            damaged[rng.integers(0, len(damaged) if trial % 2 else 160, 4)] = rng.integers(0, 256, 4)
            data = damaged.tobytes()[: None if trial % 5 else int(rng.integers(len(damaged)))]
            path = save(Image.new(mode, (8, 8)), tmp_path / "a.jpg", icc_profile=data)
            assert vi.load_image(path).shape == (1, 3, 8, 8)


def test_a_pillow_without_littlecms_is_named(tmp_path, monkeypatch):
    def fail(*arguments):
        raise ImportError("no _imagingcms")

    path = save(Image.new("RGB", (8, 8)), tmp_path / "a.png", icc_profile=P3 + b"another one")
    monkeypatch.setattr(ImageCms, "ImageCmsProfile", fail)
    with pytest.raises(InputError, match="Pillow lacks LittleCMS"):
        vi.load_image(path)


def test_a_picture_without_a_profile_is_not_touched(tmp_path):
    for suffix, options in ((".png", {}), (".webp", {"lossless": True})):
        path = save(Image.fromarray(noise(9, 7)), tmp_path / f"a{suffix}", **options)
        assert np.array_equal(np.asarray(vi.read_picture(path)), noise(9, 7))
