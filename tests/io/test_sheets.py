"""Contact sheets and differences."""

import numpy as np
import pytest
import torch
from support.pictures import noise

from vaezoo.errors import InputError
from vaezoo.io import images as vi
from vaezoo.io.sheets import difference, tile


def test_one_image_is_its_own_sheet():
    image = vi.to_tensor(noise(3, 5))
    assert torch.equal(tile([[image]]), image[0])


def test_images_of_a_sheet_stand_apart_by_a_light_gap():
    sheet = tile([[torch.full((1, 3, 2, 3), 0.25), torch.full((3, 4, 5), -0.5)], [torch.full((3, 1, 7), -1.0)]])
    assert sheet.shape == (3, 4 + 4 + 1, 7 + 4 + 5)
    assert sheet.dtype == torch.float32
    expected = torch.full((3, 9, 16), 0.8)
    expected[:, :2, :3], expected[:, :4, 11:], expected[:, 8:, :7] = 0.25, -0.5, -1.0
    assert torch.equal(sheet, expected)


def test_a_sheet_takes_any_floating_dtype():
    sheet = tile([[torch.ones(3, 1, 1, dtype=torch.bfloat16), torch.ones(3, 1, 1, dtype=torch.float64)]])
    assert sheet.shape == (3, 1, 6)
    assert sheet.dtype == torch.float32


@pytest.mark.parametrize("rows", [[], [[]]])
def test_a_sheet_of_nothing_is_refused(rows):
    with pytest.raises(InputError, match="no images to tile"):
        tile(rows)


def test_difference_is_signed_amplified_and_clamped():
    images = torch.tensor([0.0, 0.5, 0.5, -1.0])
    reconstruction = torch.tensor([0.0, 0.6, 0.4, 1.0])
    torch.testing.assert_close(difference(images, reconstruction), torch.tensor([0.0, 0.4, -0.4, 1.0]))
    torch.testing.assert_close(difference(images, reconstruction, gain=1), torch.tensor([0.0, 0.1, -0.1, 1.0]))


def test_difference_names_both_shapes():
    with pytest.raises(InputError, match=r"\(1, 3, 4, 4\) and \(3, 4, 4\)"):
        difference(torch.zeros(1, 3, 4, 4), torch.zeros(3, 4, 4))


def test_a_side_by_side_picture_can_be_saved(tmp_path):
    image = vi.to_tensor(noise(8, 8))
    vi.save_picture(tile([[image, image, difference(image, image)]]), tmp_path / "a.png")
    pixels = np.asarray(vi.read_picture(tmp_path / "a.png"))
    assert pixels.shape == (8, 32, 3)
    assert (pixels[:, :8] == noise(8, 8)).all()
    assert (pixels[:, 24:] == 128).all()
