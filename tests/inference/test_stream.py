"""Reconstruction of pictures by strips, and of lists of images."""

import numpy as np
import pytest
import torch
from support.small import small_vae

import vaezoo
from vaezoo.inference import stream
from vaezoo.inference.optimize import optimize
from vaezoo.inference.reconstruct import reconstruct
from vaezoo.inference.stream import reconstruct_rows


def picture(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("name", ["vae_f8_z4_micro", pytest.param("taef2_f8_z32", marks=pytest.mark.slow)])
def test_strips_of_a_picture_are_those_of_its_reconstruction(name, monkeypatch):
    vae = small_vae(name)
    height, width = 14 * vae.size_multiple - 3, vae.size_multiple + 1
    shown = picture(height, width)
    expected = reconstruct(vae, vaezoo.to_tensor(shown))
    converted, shares = [], []
    monkeypatch.setattr(stream, "to_tensor", lambda part: converted.append(len(part)) or vaezoo.to_tensor(part))
    found = list(reconstruct_rows(optimize(vae, "fp32", tile=vae.size_multiple), shown, shares.append))
    assert [first for first, _ in found] == [*range(0, height, vae.size_multiple)]
    torch.testing.assert_close(torch.cat([rows for _, rows in found], dim=2), expected, rtol=0, atol=2e-5)
    assert sum(shares) == pytest.approx(1)
    assert max(converted) < height  # the picture is never converted as a whole
    assert not torch.is_inference_mode_enabled()


def test_a_picture_lower_than_the_multiple_and_of_16_bits():
    vae, shown = vaezoo.create("vae_f8_z4_micro", pretrained=True), picture(3, 9)[..., 0].astype(np.uint16) * 257
    [(first, rows)] = reconstruct_rows(optimize(vae, "fp32", tile="auto"), shown)
    expected = reconstruct(vae, vaezoo.to_tensor(shown))
    assert first == 0
    torch.testing.assert_close(rows, expected, rtol=0, atol=2e-5)


def test_only_models_that_run_in_strips_stream():
    vae = vaezoo.create("vae_f8_z4_micro")
    with pytest.raises(vaezoo.InputError, match=r"does not run in strips: pass vaezoo.optimize\(vae, tile='auto'\)"):
        next(reconstruct_rows(vae, picture(8, 8)))


def test_values_that_are_not_finite_are_refused():
    vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)
    vae.decoder[0].weight.data[0] = float("nan")
    with pytest.raises(vaezoo.InputError, match=r"an image of 8x8: vae_f8_z4_micro in torch\.float32 computes NaN"):
        list(reconstruct_rows(optimize(vae, "fp32", tile=8), picture(8, 8)))


def test_a_list_of_images_of_different_sizes_is_reconstructed_one_by_one():
    vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)
    images = [torch.zeros(1, 3, 30, 45), torch.ones(2, 3, 8, 9)]
    for found, image in zip(reconstruct(vae, images), images, strict=True):
        torch.testing.assert_close(found, reconstruct(vae, image))
