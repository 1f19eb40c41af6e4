"""Pictures to tensors and back: values known by hand, every kind of file made here, every damaged one refused."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vaezoo import images as vi
from vaezoo.errors import FileError, ImageError, InputError

LANCZOS = Image.Resampling.LANCZOS
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def noise(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)
    return values.squeeze(2) if channels == 1 else values


def rgb(tensor: torch.Tensor) -> list[tuple[int, ...]]:
    """The 8-bit pixels of a tensor (1, 3, H, W), row by row."""
    assert tensor.dtype == torch.float32
    assert tensor.shape[:2] == (1, 3)
    assert tensor.abs().max() <= 1
    return [tuple(pixel) for pixel in ((tensor[0] + 1) * 127.5).round().int().flatten(1).T.tolist()]


def save(picture: Image.Image, path: Path, **options) -> Path:
    picture.save(path, **options)
    return path


def row(mode: str, *pixels: int | tuple[int, ...]) -> Image.Image:
    picture = Image.new(mode, (len(pixels), 1))
    for x, pixel in enumerate(pixels):
        picture.putpixel((x, 0), pixel)
    return picture


def write_png(path: Path, array: np.ndarray, transparency: bytes = b"") -> Path:
    """A 16-bit PNG of 1 (grey), 2 (with alpha), 3 or 4 channels, which Pillow itself cannot write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, channels = array.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in array)
    body = chunk(b"IHDR", header) + (chunk(b"tRNS", transparency) if transparency else b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ImageError) as raised:
        vi.load_image(path)
    assert str(raised.value).startswith(f"{path}: ")
    return str(raised.value)


# Files of every kind


def test_black_is_minus_one_and_white_is_one(tmp_path):
    path = save(row("RGB", (0, 0, 0), WHITE, (51, 102, 204)), tmp_path / "a.png")
    image = vi.load_image(path)
    assert image.shape == (1, 3, 1, 3)
    assert image.dtype == torch.float32
    torch.testing.assert_close(image[0, :, 0].T, torch.tensor([[-1.0] * 3, [1.0] * 3, [-0.6, -0.2, 0.6]]))


def test_a_path_may_be_a_string(tmp_path):
    assert rgb(vi.load_image(str(save(row("RGB", RED), tmp_path / "a.png")))) == [RED]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_every_exif_orientation_is_turned_upright(tmp_path, orientation, suffix):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16], upright[:8, 16:], upright[8:, :16] = RED, BLUE, WHITE
    undo = {  # what the camera stored: the inverse of what the tag tells the viewer to do
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](upright)))
    picture = vi.read_picture(save(stored, tmp_path / f"a{suffix}", exif=exif.tobytes()))
    assert picture.size == (32, 16)
    assert np.abs(np.asarray(picture).astype(int) - upright).mean() < 8  # JPEG and WebP are lossy
    assert picture.getexif().get(0x0112, 1) == 1  # so that nobody turns it twice


def test_a_malformed_exif_tag_beside_the_orientation_does_not_matter(tmp_path):
    entries = struct.pack("<HHHIHHHHIII", 2, 0x0112, 3, 1, 6, 0, 0x010F, 5, 1, 0, 0)  # the maker as a fraction
    path = save(row("RGB", RED, BLUE), tmp_path / "a.png", exif=b"Exif\0\0II*\0\x08\0\0\0" + entries)
    assert vi.read_picture(path).size == (1, 2)


def test_exif_that_cannot_be_read_is_refused(tmp_path):
    assert "not a TIFF file" in refusal(save(row("RGB", RED), tmp_path / "a.png", exif=b"Exif\0\0nonsense"))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_grey_becomes_three_equal_channels(tmp_path, suffix):
    path = save(Image.new("L", (8, 8), 77), tmp_path / f"a{suffix}")
    assert set(rgb(vi.load_image(path))) == {(77, 77, 77)}


def test_grey_with_alpha_is_composited_over_white(tmp_path):
    path = save(row("LA", (0, 255), (0, 0), (0, 128), (100, 255)), tmp_path / "a.png")
    assert rgb(vi.load_image(path)) == [(0,) * 3, WHITE, (127,) * 3, (100,) * 3]


def test_rgba_is_composited_over_white(tmp_path):
    path = save(row("RGBA", (*RED, 255), (*RED, 0), (*RED, 128)), tmp_path / "a.png")
    assert rgb(vi.load_image(path)) == [RED, WHITE, (255, 127, 127)]


def test_a_palette_is_looked_up(tmp_path):
    picture = row("P", 0, 1)
    picture.putpalette([*RED, *BLUE])
    assert rgb(vi.load_image(save(picture, tmp_path / "a.png"))) == [RED, BLUE]


@pytest.mark.parametrize(("transparency", "second"), [(1, WHITE), (b"\xff\x00", WHITE), (b"\xff\x80", (127, 127, 255))])
def test_transparency_of_a_palette_is_composited_over_white(tmp_path, transparency, second):
    picture = row("P", 0, 1)
    picture.putpalette([*RED, *BLUE])
    path = save(picture, tmp_path / "a.png", transparency=transparency)
    assert rgb(vi.load_image(path)) == [RED, second]


@pytest.mark.parametrize(
    ("picture", "transparency", "expected"),
    [
        (row("1", 0, 255), 0, [WHITE, WHITE]),
        (row("L", 7, 8), 7, [WHITE, (8, 8, 8)]),
        (row("RGB", RED, BLUE), RED, [WHITE, BLUE]),
    ],
    ids=["1-bit", "grey", "RGB"],
)
def test_a_transparent_colour_becomes_white(tmp_path, picture, transparency, expected):
    assert rgb(vi.load_image(save(picture, tmp_path / "a.png", transparency=transparency))) == expected


def test_one_bit_is_black_and_white(tmp_path):
    assert rgb(vi.load_image(save(row("1", 0, 255), tmp_path / "a.png"))) == [(0, 0, 0), WHITE]


def test_a_cmyk_jpeg_has_its_colours_the_right_way_round(tmp_path):
    path = save(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), tmp_path / "a.jpg", quality=100)
    assert np.abs(np.array(rgb(vi.load_image(path))) - RED).max() <= 3


def test_sixteen_bit_grey_keeps_every_level(tmp_path):
    levels = np.array([0, 1, 255, 256, 32767, 32768, 65534, 65535])
    path = write_png(tmp_path / "a.png", levels.reshape(2, 4, 1))
    assert vi.read_picture(path).mode == "I;16"
    image = vi.load_image(path)
    np.testing.assert_allclose(image[0, 1].flatten().double(), levels / 32767.5 - 1, atol=1e-7)
    assert torch.equal(image[:, 0], image[:, 1])
    assert torch.equal(image[:, 0], image[:, 2])
    assert (((image[0, 0].double() + 1) * 32767.5).round().flatten().int().numpy() == levels).all()


def test_sixteen_bit_grey_written_by_pillow_reads_the_same(tmp_path):
    levels = noise(9, 7, 1, np.uint16)
    path = save(Image.fromarray(levels), tmp_path / "a.png")
    assert (np.asarray(vi.read_picture(path)) == levels).all()
    assert torch.equal(vi.load_image(path), vi.to_tensor(levels))


def test_the_transparent_level_of_sixteen_bit_grey_becomes_white(tmp_path):
    path = write_png(tmp_path / "a.png", np.array([[[300], [301]]]), transparency=struct.pack(">H", 300))
    assert np.asarray(vi.read_picture(path)).tolist() == [[65535, 301]]


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ([[0, 65535, 0x8080], [65535, 0, 0]], [(0, 255, 128), RED]),
        ([[65535, 0, 0, 65535], [0, 0, 0, 0]], [RED, WHITE]),
        ([[0, 65535], [0, 0]], [(0, 0, 0), WHITE]),
    ],
    ids=["RGB", "RGBA", "grey and alpha"],
)
def test_sixteen_bit_colour_is_read_at_eight_bits(tmp_path, pixels, expected):
    assert rgb(vi.load_image(write_png(tmp_path / "a.png", np.array([pixels])))) == expected


def test_lossless_webp_with_alpha_is_exact(tmp_path):
    picture = row("RGBA", (*RED, 255), (*BLUE, 0), (*BLUE, 255))
    assert rgb(vi.load_image(save(picture, tmp_path / "a.webp", lossless=True))) == [RED, WHITE, BLUE]


def test_lossy_webp_with_alpha_is_composited_over_white(tmp_path):
    picture = Image.new("RGBA", (32, 16), (*BLUE, 255))
    picture.paste((*RED, 0), (16, 0, 32, 16))
    pixels = np.array(rgb(vi.load_image(save(picture, tmp_path / "a.webp", quality=90)))).reshape(16, 32, 3)
    assert np.abs(pixels[:, :12] - BLUE).max() < 12
    assert (pixels[:, 20:] == 255).all()


def test_the_first_picture_of_a_multi_picture_jpeg_is_read(tmp_path):
    gain_map = Image.new("RGB", (16, 16), BLUE)
    path = save(
        Image.new("RGB", (16, 16), RED), tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[gain_map]
    )
    with Image.open(path) as picture:
        assert picture.format == "MPO"
        assert picture.n_frames == 2
    assert np.abs(np.array(rgb(vi.load_image(path))) - RED).max() < 3


# Files that cannot be read


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
    assert "an animation of 3 frames; save the frame you want" in refusal(path)


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


@pytest.mark.parametrize("name", KINDS)
def test_a_file_cut_anywhere_is_refused(tmp_path, name):
    mode, options = KINDS[name]
    picture = Image.fromarray(noise(24, 32, 1, np.uint16) if mode == "I;16" else noise(24, 32))
    path = save(picture if mode == "I;16" else picture.convert(mode), tmp_path / name, **options)
    data, whole = path.read_bytes(), vi.load_image(path)
    for length in range(1, len(data)):
        path.write_bytes(data[:length])
        if length < len(data) - 24:
            refusal(path)
            continue
        try:  # the last bytes may hold no pixels, only checksums and the end mark
            image = vi.load_image(path)
        except ImageError:
            continue
        assert torch.equal(image, whole)


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_gives_an_image_or_an_image_error(tmp_path, name):
    mode, options = KINDS[name]
    picture = Image.fromarray(noise(24, 32, 1, np.uint16) if mode == "I;16" else noise(24, 32))
    path = save(picture if mode == "I;16" else picture.convert(mode), tmp_path / name, **options)
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for trial in range(150):
        damaged = np.frombuffer(data, np.uint8).copy()
        reach = 120 if trial % 2 else len(data)  # half of the damage in the headers
        damaged[rng.integers(0, reach, 4)] = rng.integers(0, 256, 4)
        path.write_bytes(damaged.tobytes())
        try:
            image = vi.load_image(path)
        except ImageError:
            continue
        assert image.abs().max() <= 1


# Pictures and arrays to tensors, and back


@given(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_eight_bit_values_come_back_exactly(height, width, random):
    levels = np.array([random.randrange(256) for _ in range(height * width * 3)], np.uint8).reshape(height, width, 3)
    image = vi.to_tensor(levels)
    assert (np.asarray(vi.to_pil(image)) == levels).all()
    assert torch.equal(vi.to_tensor(vi.to_pil(image)), image)


def test_every_level_k_becomes_k_over_127_5_minus_1():
    levels = torch.arange(256)
    image = vi.to_tensor(levels.numpy().astype(np.uint8).reshape(16, 16))
    assert torch.equal(image[0, 2].flatten(), levels / 127.5 - 1)
    assert (np.asarray(vi.to_pil(image))[..., 0].flatten() == levels.numpy()).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "I;16B"])
def test_a_white_picture_of_any_mode_is_white(mode):
    white = {"1": 255, "LA": (255, 255), "P": 0, "PA": (0, 255), "CMYK": 0, "YCbCr": (255, 128, 128)}
    white |= dict.fromkeys(["I", "I;16", "I;16B"], 65535)
    picture = Image.new(mode, (3, 2), white.get(mode, 255 if mode == "L" else (255,) * len(mode)))
    if mode in ("P", "PA"):
        picture.putpalette([255] * 3)
    assert torch.equal(vi.to_tensor(picture), torch.ones(1, 3, 2, 3))


@pytest.mark.parametrize("mode", ["F", "LAB", "HSV"])
def test_a_mode_without_a_known_range_is_refused_by_name(mode):
    with pytest.raises(InputError, match=f"mode {mode}"):
        vi.to_tensor(Image.new(mode, (2, 2)))


def test_mode_i_beyond_sixteen_bits_is_refused():
    for value in (-1, 65536):
        with pytest.raises(InputError, match=f"values from {min(value, 5)} to {max(value, 5)}"):
            vi.to_tensor(row("I", 5, value))


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 1), (2, 5, 3), (2, 5, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_arrays_of_every_shape_and_dtype_are_taken(shape, dtype):
    white = 1 if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).max
    image = vi.to_tensor(np.full(shape, white, dtype))
    assert image.dtype == torch.float32
    assert torch.equal(image, torch.ones(1, 3, 2, 5))
    if len(shape) == 2:
        assert torch.equal(vi.to_tensor(np.zeros(shape, dtype)), -torch.ones(1, 3, 2, 5))


def test_arrays_of_any_layout_are_taken():
    levels = noise(6, 8)
    for view in (levels[::-1, ::-1], levels.transpose(1, 0, 2), levels.astype(">u2") * 257):
        same = view if view.dtype == np.uint8 else levels
        assert torch.equal(vi.to_tensor(view), vi.to_tensor(np.ascontiguousarray(same)))
    frozen = np.zeros((2, 2, 3), np.float32)
    frozen.flags.writeable = False
    vi.to_tensor(frozen).add_(1)
    assert (frozen == 0).all()


def test_the_fourth_channel_of_an_array_is_opacity_over_white():
    image = vi.to_tensor(np.array([[[0, 0, 1, 0.25], [0.5, 0, 0, 1], [0, 0, 0, 0]]]))
    assert image[0, :, 0].T.tolist() == [[0.5, 0.5, 1], [0, -1, -1], [1, 1, 1]]


def test_a_list_becomes_a_batch_in_its_order():
    pictures = [Image.new("RGB", (3, 2), RED), np.full((2, 3), 255, np.uint8), Image.new("L", (3, 2))]
    batch = vi.to_tensor(pictures)
    assert batch.shape == (3, 3, 2, 3)
    assert batch[:, :, 0, 0].tolist() == [[1, -1, -1], [1, 1, 1], [-1, -1, -1]]
    assert torch.equal(vi.to_tensor(tuple(pictures)), batch)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros(3, np.uint8), "shape (3,)"),
        (np.zeros((1, 2, 2, 3), np.uint8), "shape (1, 2, 2, 3)"),
        (np.zeros((3, 8, 8), np.uint8), "shape (3, 8, 8)"),
        (np.zeros((8, 8, 2), np.uint8), "shape (8, 8, 2)"),
        (np.zeros((0, 8, 3), np.uint8), "shape (0, 8, 3)"),
        (np.zeros((8, 8), np.int64), "int64"),
        (np.zeros((8, 8), bool), "bool"),
        (np.zeros((8, 8), complex), "complex128"),
        (np.array([[-1.0, 1.0]]), "from -1.0 to 1.0"),
        (np.array([[0.0, 255.0]]), "from 0.0 to 255.0"),
        (np.array([[0.5, np.nan]]), "nan"),
        (np.array([[0.5, np.inf]]), "inf"),
        (torch.zeros(3, 8, 8), "Tensor"),
        ("photo.png", "str; load_image"),
        (None, "NoneType"),
        ([], "sizes"),
        ([np.zeros((2, 3)), np.zeros((3, 2))], "[(2, 3), (3, 2)]"),
    ],
)
def test_what_is_not_a_picture_is_refused_and_named(picture, words):
    with pytest.raises(InputError) as raised:
        vi.to_tensor(picture)
    assert words in str(raised.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_to_pil_takes_every_floating_dtype_clamps_and_rounds(dtype):
    values = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0], dtype=dtype)
    picture = vi.to_pil(values.expand(1, 3, 1, 5).requires_grad_())
    assert picture.mode == "RGB"
    assert picture.size == (5, 1)
    assert np.asarray(picture)[0, :, 1].tolist() == [0, 0, 128, 255, 255]  # 0 is 127.5, and rounds to even


def test_to_pil_rounds_to_the_nearest_level():
    levels = torch.tensor([9.6, 10.4, 10.6])
    assert np.asarray(vi.to_pil((levels / 127.5 - 1).expand(3, 1, 3)))[0, :, 0].tolist() == [10, 10, 11]


@pytest.mark.parametrize("device", ["cpu"] + ["cuda"] * torch.cuda.is_available())
def test_images_of_any_device_are_shown_tiled_padded_and_compared(device):
    images = torch.ones(1, 3, 2, 2, device=device, dtype=torch.bfloat16)
    assert np.asarray(vi.to_pil(images)).min() == 255
    assert vi.tile([[images, vi.difference(images, images)]]).device.type == "cpu"
    assert vi.pad_to_multiple(images, 8).device.type == device


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(2, 3, 4, 4), "a batch of 2 images where one is expected; pass images[i]"),
        (torch.zeros(1, 4, 4, 4), "(1, 4, 4, 4)"),
        (torch.zeros(4, 4), "(4, 4)"),
        (torch.zeros(4, 4, 3), "(4, 4, 3)"),
        (torch.zeros(1, 1, 3, 4, 4), "(1, 1, 3, 4, 4)"),
        (torch.zeros(3, 0, 4), "(3, 0, 4)"),
        (torch.zeros(0, 3, 4, 4), "(0, 3, 4, 4)"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "torch.uint8"),
        (torch.full((3, 4, 4), torch.nan), "NaN"),
        (torch.full((3, 4, 4), torch.inf), "infinite"),
    ],
)
def test_what_is_not_one_image_is_refused_and_named(tmp_path, images, words):
    for function in (vi.to_pil, lambda one: vi.save_picture(one, tmp_path / "a.png"), lambda one: vi.tile([[one]])):
        with pytest.raises(InputError) as raised:
            function(images)
        assert words in str(raised.value)
    assert not list(tmp_path.iterdir())


# Resizing and padding


@pytest.mark.parametrize("size", [(512, 512), (500, 300), (300, 500), (20, 30)])
def test_resize_and_crop_gives_a_square(size):
    assert vi.resize_and_crop(Image.new("RGB", size), 64).size == (64, 64)


def test_a_square_is_reduced_exactly_as_pillow_does_it():
    picture = Image.fromarray(noise(512, 512))
    expected = picture.resize((256, 256), LANCZOS)
    assert vi.resize_and_crop(picture, 256).tobytes() == expected.tobytes()


@pytest.mark.parametrize(("width", "height"), [(1024, 512), (512, 1024)])
def test_a_rectangle_is_reduced_as_a_whole_and_cropped_in_the_centre(width, height):
    x, y = np.meshgrid(np.linspace(0, 9, width), np.linspace(0, 9, height))
    picture = Image.fromarray(np.stack([127 + 127 * np.sin(x), 127 + 127 * np.cos(y), x * y], 2).astype(np.uint8))
    halves = picture.resize((width // 2, height // 2), LANCZOS)
    left, top = (width // 2 - 256) // 2, (height // 2 - 256) // 2
    expected = halves.crop((left, top, left + 256, top + 256))
    result = np.asarray(vi.resize_and_crop(picture, 256)).astype(int)
    assert np.abs(result - np.asarray(expected)).max() <= 1  # Pillow may choose another order of the two axes


def test_a_picture_of_the_right_height_is_only_cropped():
    levels = noise(8, 12)
    assert (np.asarray(vi.resize_and_crop(Image.fromarray(levels), 8)) == levels[:, 2:10]).all()


def test_a_palette_is_looked_up_before_it_is_resized():
    picture = Image.new("P", (8, 8))
    picture.putpalette([*RED, *BLUE])
    picture.paste(1, (4, 0, 8, 8))
    assert vi.resize_and_crop(picture, 3).getpixel((1, 1)) in [(127, 0, 127), (128, 0, 128)]


def test_sixteen_bit_grey_is_resized_at_full_depth_and_clipped():
    levels = np.repeat(np.array([[0, 65535] * 8], np.uint16).repeat(5, axis=1), 80, axis=0)
    square = vi.resize_and_crop(Image.fromarray(levels), 31)
    result = np.asarray(square)
    assert square.mode == "I;16"
    assert result.min() == 0
    assert result.max() == 65535
    assert np.asarray(vi.resize_and_crop(Image.new("I;16", (9, 7), 12345), 4)).tolist() == [[12345] * 4] * 4


@given(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 13), st.integers(1, 13), st.integers(1, 40), st.integers(0, 9)
)
def test_padding_equals_numpy_reflect(batch, channels, height, width, multiple, seed):
    images = torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(seed))
    padded = vi.pad_to_multiple(images, multiple)
    widths = [(0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple)]
    assert (padded.numpy() == np.pad(images.numpy(), widths, mode="reflect")).all()
    assert torch.equal(padded[..., :height, :width], images)


@pytest.mark.parametrize(("length", "expected"), [(1, "aaaaaaaa"), (2, "abababab"), (3, "abcbabcb"), (5, "abcdedcb")])
def test_padding_does_not_repeat_the_edge(length, expected):
    images = torch.arange(float(length)).expand(1, 3, 8, length)
    padded = vi.pad_to_multiple(images, 8)
    assert padded.shape == (1, 3, 8, 8)
    assert "".join("abcde"[int(value)] for value in padded[0, 0, 0]) == expected


def test_padding_returns_the_same_tensor_when_it_fits():
    images = torch.zeros(2, 3, 16, 8)
    assert vi.pad_to_multiple(images, 8) is images


def test_gradients_flow_through_padding():
    images = torch.zeros(1, 1, 1, 3, requires_grad=True)
    vi.pad_to_multiple(images, 4).sum().backward()
    assert images.grad.flatten().tolist() == [4, 8, 4]  # four equal rows, and b once more


@pytest.mark.parametrize("count", [0, -8, 2.0, "8", None])
def test_a_size_that_is_no_count_is_refused(count):
    with pytest.raises(InputError, match=r"multiple=.*at least 1"):
        vi.pad_to_multiple(torch.zeros(1, 3, 8, 8), count)
    with pytest.raises(InputError, match=r"size=.*at least 1"):
        vi.resize_and_crop(Image.new("RGB", (8, 8)), count)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 3, 0, 8), (1, 1, 3, 8, 8)])
def test_padding_names_a_wrong_shape(shape):
    with pytest.raises(InputError) as raised:
        vi.pad_to_multiple(torch.zeros(shape), 8)
    assert str(shape) in str(raised.value)


# Contact sheets


def test_one_image_is_its_own_sheet():
    image = vi.to_tensor(noise(3, 5))
    assert torch.equal(vi.tile([[image]]), image[0])


def test_images_of_a_sheet_stand_apart_by_a_light_gap():
    sheet = vi.tile([[torch.full((1, 3, 2, 3), 0.25), torch.full((3, 4, 5), -0.5)], [torch.full((3, 1, 7), -1.0)]])
    assert sheet.shape == (3, 4 + 4 + 1, 7 + 4 + 5)
    assert sheet.dtype == torch.float32
    expected = torch.full((3, 9, 16), 0.8)
    expected[:, :2, :3], expected[:, :4, 11:], expected[:, 8:, :7] = 0.25, -0.5, -1.0
    assert torch.equal(sheet, expected)


def test_a_sheet_takes_any_floating_dtype():
    sheet = vi.tile([[torch.ones(3, 1, 1, dtype=torch.bfloat16), torch.ones(3, 1, 1, dtype=torch.float64)]])
    assert sheet.shape == (3, 1, 6)
    assert sheet.dtype == torch.float32


@pytest.mark.parametrize("rows", [[], [[]]])
def test_a_sheet_of_nothing_is_refused(rows):
    with pytest.raises(InputError, match="no images to tile"):
        vi.tile(rows)


def test_difference_is_signed_amplified_and_clamped():
    images = torch.tensor([0.0, 0.5, 0.5, -1.0])
    reconstruction = torch.tensor([0.0, 0.6, 0.4, 1.0])
    torch.testing.assert_close(vi.difference(images, reconstruction), torch.tensor([0.0, 0.4, -0.4, 1.0]))
    torch.testing.assert_close(vi.difference(images, reconstruction, gain=1), torch.tensor([0.0, 0.1, -0.1, 1.0]))


def test_difference_names_both_shapes():
    with pytest.raises(InputError, match=r"\(1, 3, 4, 4\) and \(3, 4, 4\)"):
        vi.difference(torch.zeros(1, 3, 4, 4), torch.zeros(3, 4, 4))


def test_a_side_by_side_picture_can_be_saved(tmp_path):
    image = vi.to_tensor(noise(8, 8))
    vi.save_picture(vi.tile([[image, image, vi.difference(image, image)]]), tmp_path / "a.png")
    pixels = np.asarray(vi.read_picture(tmp_path / "a.png"))
    assert pixels.shape == (8, 32, 3)
    assert (pixels[:, :8] == noise(8, 8)).all()
    assert (pixels[:, 24:] == 128).all()


# Writing


@pytest.mark.parametrize("name", ["a.png", "a.webp", "A.PNG"])
def test_png_and_webp_are_lossless(tmp_path, name):
    image = vi.to_tensor(noise(9, 13))
    vi.save_picture(image, tmp_path / name)
    assert torch.equal(vi.load_image(tmp_path / name), image)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg"])
def test_jpeg_is_written_at_quality_95_without_subsampling(tmp_path, name):
    image = vi.to_tensor(noise(32, 32))
    vi.save_picture(image, str(tmp_path / name))
    vi.to_pil(image).save(tmp_path / "expected.jpg", quality=95, subsampling="4:4:4")
    assert (tmp_path / name).read_bytes() == (tmp_path / "expected.jpg").read_bytes()


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.bak"])
def test_an_unknown_suffix_names_the_three(tmp_path, name):
    with pytest.raises(InputError) as raised:
        vi.save_picture(torch.zeros(3, 4, 4), tmp_path / name)
    assert str(raised.value).startswith(str(tmp_path / name))
    assert ".png, .jpg or .webp" in str(raised.value)


def test_a_missing_folder_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match="cannot be written"):
        vi.save_picture(torch.zeros(3, 4, 4), tmp_path / "none" / "a.png")


def test_a_picture_too_large_for_webp_is_refused_and_the_old_file_kept(tmp_path):
    path = tmp_path / "a.webp"
    path.write_text("before")
    with pytest.raises(InputError, match=r"20000 x 1 pixels .*; save it as \.png"):
        vi.save_picture(torch.zeros(3, 1, 20000), path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
