"""Augmentation of crops: what each key does in closed form, and what it leaves as it was."""

import dataclasses

import numpy as np
import pytest
import torch
from support.training import loader_of, quiet, tiny_recipe

from vaezoo.data.augment import Augmentation, change_colors, draw_augmentation
from vaezoo.data.crops import Crop, CropDataset
from vaezoo.data.random_crop import random_crop
from vaezoo.data.seeds import numbers
from vaezoo.data.settings import AugmentConfig
from vaezoo.errors import SpecError

RANGES = {"rotate": 20, "exposure": 1, "white_balance": 0.5, "gamma": 0.5, "saturation": 0.5, "hue": 30}
ALL = f"data.augment={{flip_vertical: true, quarter_turns: true, {', '.join(f'{k}: {v}' for k, v in RANGES.items())}}}"
RAMP = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)  # every gray
COLORS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def pixels_of(recipe):
    return [batch.pixels for batch in loader_of(recipe)]


def linear(values):
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def luma(pixels):
    return pixels @ (0.299, 0.587, 0.114)


def test_ranges_of_zero_change_no_bit_of_a_crop(tmp_path):
    zeros = "data.augment={" + ", ".join(f"{key}: 0" for key in RANGES) + "}"
    plain, same, other = (pixels_of(tiny_recipe(tmp_path, *settings)) for settings in ([], [zeros], [ALL]))
    assert all(map(torch.equal, plain, same))
    assert not any(map(torch.equal, plain, other))


def test_the_recipe_hash_without_augmentation_is_that_of_recipes_before_it(tmp_path):
    plain, off = tiny_recipe(tmp_path), tiny_recipe(tmp_path, "data.augment=null")
    assert "augment" not in plain.to_dict()["data"]
    assert plain.hash == off.hash != tiny_recipe(tmp_path, "data.augment.hue=1").hash


def test_augmented_crops_are_the_same_in_worker_processes(tmp_path):
    alone, shared = (pixels_of(tiny_recipe(tmp_path, ALL, f"data.workers={n}")) for n in (0, 1))
    assert all(map(torch.equal, alone, shared))


@pytest.mark.slow
def test_a_resumed_run_with_augmentation_equals_an_uninterrupted_one(tmp_path):
    whole, short = tiny_recipe(tmp_path, ALL), tiny_recipe(tmp_path, ALL, "steps=4", "schedule.steps=6")
    quiet(dataclasses.replace(whole, schedule=short.schedule), tmp_path / "whole")
    quiet(short, tmp_path / "part")
    quiet(dataclasses.replace(whole, schedule=short.schedule), tmp_path / "part", resume=True)
    weights = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("whole", "part")]
    assert weights[0] == weights[1]


def test_a_key_draws_the_same_numbers_whatever_the_others_are():
    alone = draw_augmentation(AugmentConfig(hue=30), numbers(0, "test"))
    together = draw_augmentation(AugmentConfig(**RANGES, quarter_turns=True), numbers(0, "test"))
    assert alone.hue == together.hue != 0
    assert alone == Augmentation(hue=alone.hue)


def test_every_drawn_change_stays_in_its_range_and_reaches_its_ends():
    drawn = [draw_augmentation(AugmentConfig(**RANGES), numbers(n, "test")) for n in range(300)]
    hues, exponents = np.array([d.hue for d in drawn]), np.log2([d.exponent for d in drawn])
    factors, stops = np.array([d.saturation for d in drawn]), np.array([d.stops for d in drawn])
    balance = stops[:, (0, 2)] - stops[:, 1:2]
    for values, most in ((hues, 30), (exponents, 0.5), (factors - 1, 0.5), (stops[:, 1], 1), (balance, 0.5)):
        assert 0.95 * most < np.abs(values).max() <= most
        assert abs(values.mean()) < 0.15 * most


@pytest.mark.parametrize("stops", [-1.0, 0.5, 2.0])
def test_exposure_multiplies_linear_light_and_clips_at_white(stops):
    found = change_colors(RAMP, Augmentation(stops=(stops,) * 3))[0, :, 0]
    expected = np.minimum(linear(np.arange(256) / 255) * 2**stops, 1)
    step = np.maximum(linear((found + 0.5) / 255) - linear((found - 0.5).clip(0) / 255), 1e-9)
    assert (np.abs(linear(found / 255) - expected) <= step).all()  # half a level on either side
    assert (found == 255).sum() == np.sum(expected >= linear(np.array(254.5 / 255)))
    assert linear(found / 255).mean() == pytest.approx(expected.mean(), abs=1e-3)


def test_gamma_is_an_exponent_of_the_srgb_values():
    found = change_colors(RAMP, Augmentation(exponent=2.0))[0, :, 1]
    assert np.array_equal(found, np.rint((np.arange(256) / 255) ** 2 * 255))


def test_white_balance_changes_red_and_blue_against_green():
    red, green, blue = change_colors(RAMP, Augmentation(stops=(0.5, 0.0, -0.5))).transpose(2, 0, 1)
    assert np.array_equal(green, RAMP[..., 1])
    assert (red[0, 1:] > green[0, 1:]).sum() > 250
    assert (blue[0, 5:] < green[0, 5:]).all()


def test_saturation_and_hue_keep_grays_and_the_luma_of_colors():
    for changes in (Augmentation(saturation=0.0), Augmentation(saturation=1.2, hue=40.0)):
        assert np.array_equal(change_colors(RAMP, changes), RAMP)
        muted = (COLORS // 4 + 96).astype(np.uint8)  # so that nothing is clipped
        assert np.abs(luma(change_colors(muted, changes)) - luma(muted)).max() < 1
    gray = change_colors(COLORS, Augmentation(saturation=0.0))
    assert np.array_equal(gray[..., 0], gray[..., 2])
    assert np.abs(gray[..., 0] - luma(COLORS)).max() <= 0.5 + 1e-9


def test_values_out_of_range_are_clipped_and_do_not_wrap_around():
    found = change_colors(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8), Augmentation(saturation=2.0))
    assert np.array_equal(found, [[[255, 0, 0], [0, 0, 255]]])


@pytest.mark.parametrize("side", [(40, 40), (41, 57), (300, 90)])
def test_a_rotated_crop_shows_the_photo_up_to_its_corners(tmp_path, side):
    data = tiny_recipe(tmp_path, "data.scale=[1, 3]").data
    white = np.full((*side, 3), 255, np.uint8)
    for angle in (-45.0, -7.0, 1e-9, 3.0, 45.0):
        for number in range(10):
            found = random_crop(white, 32, data, numbers(number, "test"), Augmentation(angle=angle))
            assert found.shape == (32, 32, 3)
            assert found.min() == 255


def test_a_rotation_is_counterclockwise_about_the_center(tmp_path):
    data = tiny_recipe(tmp_path, "data.scale=[1, 1]", "data.flip=false").data
    y, x = np.indices((64, 64)) * 3
    photo = np.stack([x, y, x], axis=2).astype(np.uint8)
    found = random_crop(photo, 40, data, numbers(0, "test"), Augmentation(angle=30.0)).astype(float)
    slopes = [np.diff(found[..., c], axis=axis).mean() for c in (0, 1) for axis in (1, 0)]
    cos, sin = 3 * np.cos(np.pi / 6), 3 * np.sin(np.pi / 6)
    assert slopes == pytest.approx([cos, -sin, sin, cos], abs=0.03)


def test_a_photo_without_room_is_not_rotated(tmp_path):
    data = tiny_recipe(tmp_path, "data.scale=[1, 1]", "data.flip=false").data
    found = random_crop(COLORS, 32, data, numbers(0, "test"), Augmentation(angle=30.0))
    assert np.array_equal(found, COLORS)


def test_flips_and_quarter_turns_give_each_orientation_as_often(tmp_path):
    recipe = tiny_recipe(tmp_path, "data.augment={flip_vertical: true, quarter_turns: true}", "data.scale=[1, 1]")
    photo = np.zeros((16, 16, 3), np.uint8)
    photo[0, 1] = 255
    counts: dict[tuple[int, int], int] = {}
    for number in range(400):
        changes = draw_augmentation(recipe.data.augment, numbers(number, "changes"))
        found = random_crop(photo, 16, recipe.data, numbers(number, "test"), changes)
        place = tuple(int(i) for i in np.argwhere(found[..., 0])[0])
        counts[place] = counts.get(place, 0) + 1
    assert set(counts) == {(0, 1), (0, 14), (15, 1), (15, 14), (1, 0), (1, 15), (14, 0), (14, 15)}
    assert min(counts.values()) > 25


def test_crops_for_latent_statistics_are_not_augmented(tmp_path):
    plain, augmented = (CropDataset(tiny_recipe(tmp_path, *settings).data, 0) for settings in ([], [ALL]))
    assert np.array_equal(plain.make(Crop(3, 16)).pixels, augmented.make(Crop(3, 16, augment=False)).pixels)
    assert not np.array_equal(plain.make(Crop(3, 16)).pixels, augmented.make(Crop(3, 16)).pixels)


def test_a_value_out_of_bounds_names_its_key(tmp_path):
    with pytest.raises(SpecError, match=r"rotate"):
        tiny_recipe(tmp_path, "data.augment.rotate=90")
    with pytest.raises(SpecError, match=r"saturation"):
        tiny_recipe(tmp_path, "data.augment.saturation=-1")
