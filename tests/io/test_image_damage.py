"""Picture files that cannot be read: every one is refused with its path."""

import resource
import time
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from support.pictures import noise, refusal, save, with_checksums

from vaezoo.errors import FileError, ImageError
from vaezoo.io import images as vi
from vaezoo.out_of_memory import OutOfMemoryError


def test_a_missing_path_is_a_file_error_that_begins_with_it(tmp_path):
    path = tmp_path / "none.png"
    with pytest.raises(FileError) as raised:
        vi.load_image(path)
    assert str(raised.value).startswith(str(path))
    assert "No such file" in str(raised.value)


def test_a_folder_is_a_file_error_that_begins_with_it(tmp_path):
    with pytest.raises(FileError) as raised:
        vi.load_image(tmp_path)
    assert str(raised.value).startswith(str(tmp_path))


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"")
    assert "empty (0 bytes)" in refusal(path)


def test_a_text_named_like_a_picture_is_refused(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("not a picture")
    assert "not a JPEG, PNG or WebP picture" in refusal(path)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "PPM"])
def test_other_formats_are_refused_whatever_the_suffix_says(tmp_path, kind):
    path = save(Image.new("RGB", (8, 8)), tmp_path / "a.png", format=kind)
    assert "not a JPEG, PNG or WebP picture" in refusal(path)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_an_animation_is_refused_with_its_number_of_frames(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 100, 200)]
    path = save(frames[0], tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], duration=40)
    assert "an animation of 3 frames; save one frame" in refusal(path)


@pytest.mark.parametrize("limit", [63, 20])  # Pillow itself only warns up to twice the limit
@pytest.mark.parametrize("action", ["ignore", "error"])
def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch, limit, action):
    path = save(Image.new("RGB", (8, 8)), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        assert "too large to be safe" in refusal(path)


def test_a_picture_of_just_the_limit_is_read(tmp_path, monkeypatch):
    path = save(Image.new("RGB", (8, 8)), tmp_path / "a.png")
    for limit in (64, None):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert vi.load_image(path).shape == (1, 3, 8, 8)


KINDS = {
    "baseline.jpg": ("RGB", {"quality": 90}),
    "progressive.jpg": ("RGB", {"progressive": True}),
    "exif.jpg": ("RGB", {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"}),
    "cmyk.jpg": ("CMYK", {}),
    "rgb.png": ("RGB", {}),
    "alpha.png": ("RGBA", {}),
    "palette.png": ("P", {"transparency": 3}),
    "grey16.png": ("I;16", {}),
    "lossy.webp": ("RGB", {}),
    "lossless.webp": ("RGBA", {"lossless": True}),
}
METADATA = {
    "metadata.png": ("RGB", {"exif": b"II*\0\x08\0\0\0\0\0", "icc_profile": bytes(range(128)), "dpi": (72, 72)}),
    "metadata.webp": ("RGB", {"exif": b"II*\0\x08\0\0\0\0\0", "icc_profile": bytes(range(128))}),
}


@pytest.mark.parametrize("every", [21, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", KINDS)
def test_a_file_cut_anywhere_is_refused(tmp_path, name, every):
    """By default at every 21st byte, and at each of the last."""
    mode, options = KINDS[name]
    picture = Image.fromarray(noise(12, 16, 1, np.uint16) if mode == "I;16" else noise(12, 16))
    path = save(picture if mode == "I;16" else picture.convert(mode), tmp_path / name, **options)
    data, whole = path.read_bytes(), vi.load_image(path)
    for length in sorted({*range(1, len(data), every), *range(len(data) - 32, len(data))}):
        path.write_bytes(data[:length])
        if length < len(data) - 24:
            refusal(path)
            continue
        try:  # the last bytes may hold no pixels, only checksums and the end mark
            image = vi.load_image(path)
        except ImageError:
            continue
        assert torch.equal(image, whole)


@pytest.mark.parametrize("trials", [12, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [*KINDS, *METADATA])
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_gives_an_image_or_an_image_error(tmp_path, name, trials):
    mode, options = (KINDS | METADATA)[name]
    picture = Image.fromarray(noise(12, 16, 1, np.uint16) if mode == "I;16" else noise(12, 16))
    path = save(picture if mode == "I;16" else picture.convert(mode), tmp_path / name, **options)
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for trial in range(trials):
        damaged = np.frombuffer(data, np.uint8).copy()
        reach = 120 if trial % 2 else len(data)  # half of the damage in the headers
        damaged[rng.integers(0, reach, 4)] = rng.integers(0, 256, 4)
        path.write_bytes(damaged.tobytes() if trial % 3 else with_checksums(damaged.tobytes()))
        start = time.monotonic()
        try:
            image = vi.load_image(path)
        except ImageError:
            image = torch.zeros(1)
        assert image.abs().max() <= 1
        assert time.monotonic() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 * 2**20  # KiB


@pytest.mark.parametrize("error", [IndexError, KeyError, OverflowError, AssertionError, TypeError, AttributeError])
def test_whatever_pillow_raises_is_damage(tmp_path, monkeypatch, error):
    path = save(Image.new("RGB", (8, 8)), tmp_path / "a.png")

    def fail(*arguments):
        raise error("inside Pillow")

    monkeypatch.setattr(Image.Image, "load", fail)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_prepare", fail)
    assert "damaged or cut off (" in refusal(path)


def test_a_lack_of_memory_names_the_picture_and_its_size(tmp_path, monkeypatch):
    path = save(Image.new("RGB", (8, 6)), tmp_path / "a.png")

    def fail(*arguments):
        raise MemoryError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_prepare", fail)
    with pytest.raises(OutOfMemoryError) as raised:
        vi.load_image(path)
    assert str(raised.value) == f"{path}: 8 x 6 pixels: out of memory; make a smaller copy of it"


def test_a_lack_of_memory_for_a_tensor_states_its_size():
    with pytest.raises(OutOfMemoryError, match=r"a tensor of 2097152 x 2097152 pixels: out of memory \(.* 48.0 TiB\)"):
        vi.to_tensor(np.broadcast_to(np.uint8(0), (2**21, 2**21, 3)))


def test_files_that_are_larger_than_the_largest_picture_are_not_read(tmp_path):
    path = save(Image.new("RGB", (8, 8)), tmp_path / "a.png")
    with path.open("r+b") as file:
        file.truncate(40 * 2**30)  # without blocks on the disk
    assert "too large to be safe (a file of 42949672960 bytes for at most 89478485 pixels)" in refusal(path)


@pytest.mark.parametrize("name", ["take_apart", "to_plain_mode"])
def test_errors_of_this_library_are_not_reported_as_damage(tmp_path, monkeypatch, name):
    path = save(Image.new("RGB", (8, 8)), tmp_path / "a.png")

    def fail(*arguments):
        raise TypeError("a mistake")

    monkeypatch.setattr(f"vaezoo.io.read_image.{name}", fail)
    with pytest.raises(TypeError, match="a mistake"):
        vi.load_image(path)
