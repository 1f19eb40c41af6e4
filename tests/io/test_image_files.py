"""Picture files to tensors: every kind of file made here, values known by hand."""

import struct

import numpy as np
import pytest
import torch
from PIL import Image
from support.pictures import BLUE, RED, WHITE, noise, rgb, row, save, write_png

from vaezoo.io import images as vi


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


def test_exif_that_cannot_be_read_leaves_the_pixels_as_they_are(tmp_path):
    path = save(row("RGB", RED, BLUE), tmp_path / "a.png", exif=b"Exif\0\0nonsense")
    assert rgb(vi.load_image(path)) == [RED, BLUE]


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
