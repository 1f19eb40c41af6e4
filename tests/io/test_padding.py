"""Resizing, cropping and padding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.pictures import BLUE, LANCZOS, RED, noise

from vaezoo.errors import InputError
from vaezoo.io.resize_and_pad import pad_to_multiple, resize_and_crop


@pytest.mark.parametrize("size", [(512, 512), (500, 300), (300, 500), (20, 30)])
def test_resize_and_crop_gives_a_square(size):
    assert resize_and_crop(Image.new("RGB", size), 64).size == (64, 64)


def test_a_square_is_reduced_exactly_as_pillow_does_it():
    picture = Image.fromarray(noise(512, 512))
    expected = picture.resize((256, 256), LANCZOS)
    assert resize_and_crop(picture, 256).tobytes() == expected.tobytes()


@pytest.mark.parametrize(("width", "height"), [(1024, 512), (512, 1024)])
def test_a_rectangle_is_reduced_as_a_whole_and_cropped_in_the_centre(width, height):
    x, y = np.meshgrid(np.linspace(0, 9, width), np.linspace(0, 9, height))
    picture = Image.fromarray(np.stack([127 + 127 * np.sin(x), 127 + 127 * np.cos(y), x * y], 2).astype(np.uint8))
    halves = picture.resize((width // 2, height // 2), LANCZOS)
    left, top = (width // 2 - 256) // 2, (height // 2 - 256) // 2
    expected = halves.crop((left, top, left + 256, top + 256))
    result = np.asarray(resize_and_crop(picture, 256)).astype(int)
    assert np.abs(result - np.asarray(expected)).max() <= 1  # Pillow may choose another order of the two axes


def test_a_picture_of_the_right_height_is_only_cropped():
    levels = noise(8, 12)
    assert (np.asarray(resize_and_crop(Image.fromarray(levels), 8)) == levels[:, 2:10]).all()


def test_a_palette_is_looked_up_before_it_is_resized():
    picture = Image.new("P", (8, 8))
    picture.putpalette([*RED, *BLUE])
    picture.paste(1, (4, 0, 8, 8))
    assert resize_and_crop(picture, 3).getpixel((1, 1)) in [(127, 0, 127), (128, 0, 128)]


def test_sixteen_bit_grey_is_resized_at_full_depth_and_clipped():
    levels = np.repeat(np.array([[0, 65535] * 8], np.uint16).repeat(5, axis=1), 80, axis=0)
    square = resize_and_crop(Image.fromarray(levels), 31)
    result = np.asarray(square)
    assert square.mode == "I;16"
    assert result.min() == 0
    assert result.max() == 65535
    assert np.asarray(resize_and_crop(Image.new("I;16", (9, 7), 12345), 4)).tolist() == [[12345] * 4] * 4


@settings(deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 13), st.integers(1, 13), st.integers(1, 40), st.integers(0, 9)
)
def test_padding_equals_numpy_reflect(batch, channels, height, width, multiple, seed):
    images = torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(seed))
    padded = pad_to_multiple(images, multiple)
    widths = [(0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple)]
    assert (padded.numpy() == np.pad(images.numpy(), widths, mode="reflect")).all()
    assert torch.equal(padded[..., :height, :width], images)


@pytest.mark.parametrize(("length", "expected"), [(1, "aaaaaaaa"), (2, "abababab"), (3, "abcbabcb"), (5, "abcdedcb")])
def test_padding_does_not_repeat_the_edge(length, expected):
    images = torch.arange(float(length)).expand(1, 3, 8, length)
    padded = pad_to_multiple(images, 8)
    assert padded.shape == (1, 3, 8, 8)
    assert "".join("abcde"[int(value)] for value in padded[0, 0, 0]) == expected


def test_padding_returns_the_same_tensor_when_it_fits():
    images = torch.zeros(2, 3, 16, 8)
    assert pad_to_multiple(images, 8) is images


def test_gradients_flow_through_padding():
    images = torch.zeros(1, 1, 1, 3, requires_grad=True)
    pad_to_multiple(images, 4).sum().backward()
    assert images.grad.flatten().tolist() == [4, 8, 4]  # four equal rows, and b once more


@pytest.mark.parametrize("count", [0, -8, 2.0, "8", None])
def test_a_size_that_is_no_count_is_refused(count):
    with pytest.raises(InputError, match=r"multiple=.*at least 1"):
        pad_to_multiple(torch.zeros(1, 3, 8, 8), count)
    with pytest.raises(InputError, match=r"size=.*at least 1"):
        resize_and_crop(Image.new("RGB", (8, 8)), count)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 3, 0, 8), (1, 1, 3, 8, 8)])
def test_padding_names_a_wrong_shape(shape):
    with pytest.raises(InputError) as raised:
        pad_to_multiple(torch.zeros(shape), 8)
    assert str(shape) in str(raised.value)
