"""Pictures and arrays to tensors and back, and written to files."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.pictures import RED, noise, row

from vaezoo.errors import FileError, InputError
from vaezoo.io import images as vi
from vaezoo.io.resize_and_pad import pad_to_multiple
from vaezoo.io.sheets import difference, tile


@settings(deadline=None)
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
    assert tile([[images, difference(images, images)]]).device.type == "cpu"
    assert pad_to_multiple(images, 8).device.type == device


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
    for function in (vi.to_pil, lambda one: vi.save_picture(one, tmp_path / "a.png"), lambda one: tile([[one]])):
        with pytest.raises(InputError) as raised:
            function(images)
        assert words in str(raised.value)
    assert not list(tmp_path.iterdir())


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
