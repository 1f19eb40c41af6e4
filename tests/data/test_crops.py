"""What a run sees: crops by number, shared among ranks, and bad pictures counted or refused."""

import itertools
import re
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from support.training import loader_of, tiny_recipe, write_photos

from vaezoo.data.cache import PhotoCache
from vaezoo.data.crops import Batch, Crop, CropDataset
from vaezoo.data.random_crop import random_crop
from vaezoo.data.seeds import numbers
from vaezoo.distributed import ProcessGroup
from vaezoo.errors import FileError, ImageError
from vaezoo.training.start import crop_sampler
from vaezoo.training.state import Progress


def crops_from(recipe):
    return CropDataset(recipe.data, recipe.seed)


def sampler(recipe, rank=0, ranks=1, **progress):
    return crop_sampler(recipe, Progress(**progress), ProcessGroup(rank, ranks))


def batches(recipe) -> list[Batch]:
    return list(loader_of(recipe))


def test_every_photo_is_seen_once_in_an_epoch_and_in_a_new_order(tmp_path):
    crops = crops_from(tiny_recipe(tmp_path))
    epochs = [[next(crops._candidates(5 * epoch + i, numbers(0, "unused"))) for i in range(5)] for epoch in range(4)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 1


def test_ranks_share_each_batch_without_duplicates(tmp_path):
    recipe = tiny_recipe(tmp_path, "accumulate=3")
    ranks = [[c for batch in sampler(recipe, rank=rank, ranks=2) for c in batch] for rank in (0, 1)]
    seen = [crop.number for rank in ranks for crop in rank]
    assert sorted(seen) == list(range(6 * 3 * 2 * 2))
    assert [c.size for c in ranks[0]] == [c.size for c in ranks[1]]


def test_two_ranks_together_see_what_one_sees_with_twice_the_batch(tmp_path):
    half, whole = tiny_recipe(tmp_path), tiny_recipe(tmp_path, "batch_size=4")
    pairs = zip(*(sampler(half, rank=rank, ranks=2) for rank in (0, 1)), strict=True)
    assert [a + b for a, b in pairs] == list(sampler(whole))


def test_a_plan_that_begins_later_goes_on_with_the_same_crops(tmp_path):
    recipe = tiny_recipe(tmp_path, "data.equal_pixels=true", "accumulate=2")
    seen = sum(3 * recipe.accumulate * sampler(recipe).crops_of(sampler(recipe).size_of(step)) for step in range(4))
    whole = list(sampler(recipe, rank=1, ranks=3))
    assert list(sampler(recipe, step=4, seen=seen, rank=1, ranks=3)) == whole[8:]


def test_crops_are_the_same_in_worker_processes(tmp_path):
    alone, shared = (batches(tiny_recipe(tmp_path, f"data.workers={n}")) for n in (0, 2))
    for a, b in zip(alone, shared, strict=True):
        assert a.numbers == b.numbers
        assert torch.equal(a.pixels, b.pixels)


def test_another_seed_is_another_order_and_other_crops(tmp_path):
    first, other = (batches(tiny_recipe(tmp_path, f"seed={n}", "data.sizes=[16]")) for n in (0, 1))
    assert not torch.equal(first[0].pixels, other[0].pixels)


def test_the_last_steps_see_the_largest_crops_only(tmp_path):
    recipe = tiny_recipe(tmp_path, "steps=40", "data.last=0.25")
    sizes = [sampler(recipe).size_of(step) for step in range(40)]
    assert set(sizes[:30]) == {8, 16}
    assert set(sizes[30:]) == {16}


def test_smaller_crops_can_come_in_batches_of_as_many_pixels(tmp_path):
    recipe = tiny_recipe(tmp_path, "data.equal_pixels=true")
    assert sampler(recipe).crops_of(16) == 2
    assert sampler(recipe).crops_of(8) == 8
    assert sampler(tiny_recipe(tmp_path)).crops_of(8) == 2


def test_a_crop_at_scale_1_is_a_piece_of_the_photo(tmp_path):
    data = tiny_recipe(tmp_path, "data.scale=[1, 1]", "data.flip=false").data
    photo = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    found = random_crop(photo, 16, data, numbers(0, "test"))
    places = itertools.product(range(5), range(15))
    assert any(np.array_equal(found, photo[y : y + 16, x : x + 16]) for y, x in places)


def test_a_crop_is_reduced_with_antialiasing(tmp_path):
    data = tiny_recipe(tmp_path, "data.scale=[4, 4]").data
    checkers = np.indices((64, 64)).sum(axis=0) % 2 * 255
    photo = np.repeat(checkers[..., None], 3, axis=2).astype(np.uint8)
    found = random_crop(photo, 16, data, numbers(0, "test"))
    assert np.abs(found.astype(int) - 127).max() < 20


def test_flips_mirror_about_half_of_the_crops(tmp_path):
    data = tiny_recipe(tmp_path, "data.scale=[1, 1]").data
    ramp = np.tile(np.arange(16, dtype=np.uint8)[None, :, None], (16, 1, 3))
    flipped = [random_crop(ramp, 16, data, numbers(n, "test"))[0, 0, 0] == 15 for n in range(100)]
    assert 30 < sum(flipped) < 70


def spoil(folder):
    """Bad pictures of every kind among good ones; returns their names."""
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue")]
    frames[0].save(folder / "animated.webp", save_all=True, append_images=frames[1:])
    (folder / "corrupt.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    (folder / "empty.png").write_bytes(b"")
    Image.new("RGB", (40, 12)).save(folder / "tiny.png")
    Image.new("L", (2_000, 1_000)).save(folder / "huge.png")
    return {"animated.webp", "corrupt.jpg", "empty.png", "tiny.png", "huge.png"}


def test_bad_pictures_are_skipped_and_told_once_each(tmp_path, monkeypatch):
    recipe = tiny_recipe(tmp_path, "steps=40", "data.sizes=[16]")
    names = spoil(tmp_path / "photos")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    found = batches(recipe)
    told = {text for batch in found for text in batch.bad}
    assert len(told) == len(names)
    assert {text.partition(":")[0].rpartition("/")[2] for text in told} == names
    assert all(batch.pixels.shape == (2, 3, 16, 16) for batch in found)


def test_a_bad_picture_is_refused_by_its_path_where_the_recipe_says_so(tmp_path):
    recipe = tiny_recipe(tmp_path, "data.bad=refuse", "data.sizes=[16]", "steps=20")
    (tmp_path / "photos" / "corrupt.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    with pytest.raises(ImageError, match=r"photos/corrupt.jpg: "):
        batches(recipe)


def test_a_folder_of_bad_pictures_only_is_an_error_and_no_endless_search(tmp_path):
    recipe = tiny_recipe(tmp_path, "data.sizes=[32]", "data.scale=[2, 2]")
    with pytest.raises(FileError, match=r"all 5 photos are bad, the first: .* too small for a crop of 32"):
        batches(recipe)


def test_one_good_picture_among_many_bad_ones_is_enough_also_after_a_restart(tmp_path):
    recipe = tiny_recipe(tmp_path, "data.sizes=[16]", "data.scale=[1, 1]")
    for index in range(1, 5):
        (tmp_path / "photos" / f"{index}.png").write_bytes(b"bad")
    for index in range(5, 400):
        (tmp_path / "photos" / f"{index}.png").write_bytes(b"bad")
    crops = crops_from(recipe)
    found = [crops.make(Crop(number, 16)).pixels for number in range(300)]
    for number in (0, 150, 299):
        assert np.array_equal(crops_from(recipe).make(Crop(number, 16)).pixels, found[number])


def test_a_large_share_of_bad_pictures_is_found_at_the_start(tmp_path):
    recipe = tiny_recipe(tmp_path, "data.sizes=[16]")
    for index in range(3, 5):
        (tmp_path / "photos" / f"{index}.png").write_bytes(b"bad")
    assert crops_from(recipe).find_bad_share() is None
    (tmp_path / "photos" / "2.png").write_bytes(b"bad")
    assert re.match(r"3 of 5 sampled photos are bad .* \S+/2\.png: not a JPEG", crops_from(recipe).find_bad_share())


def test_grey_and_16_bit_pictures_are_photos_too(tmp_path):
    recipe = tiny_recipe(tmp_path, "data.sizes=[16]")
    folder = tmp_path / "grey"
    folder.mkdir()
    Image.new("L", (40, 40), 100).save(folder / "grey.png")
    Image.fromarray(np.full((40, 40), 100 * 257, np.uint16)).save(folder / "grey16.png")
    recipe = tiny_recipe(tmp_path, "data.sizes=[16]", f"data.root={folder}")
    assert all((batch.pixels == 100).all() and not batch.bad for batch in batches(recipe))


def test_photos_come_from_a_tar_file_or_a_subfolder_of_a_split(tmp_path):
    photos = write_photos(tmp_path / "set" / "train")
    write_photos(tmp_path / "set" / "validation", count=2)
    with tarfile.open(tmp_path / "photos.tar", "w") as file:
        file.add(photos, "train")
    folder, tar = (crops_from(tiny_recipe(tmp_path, f"data.root={tmp_path / name}")) for name in ("set", "photos.tar"))
    assert len(folder.photos) == len(tar.photos) == 5
    assert np.array_equal(folder.make(Crop(3, 16)).pixels, tar.make(Crop(3, 16)).pixels)


def test_a_missing_or_empty_folder_is_told_with_the_remedy(tmp_path):
    with pytest.raises(
        FileError, match=r"data.root .*nowhere: no such file or folder; .*; set it with --set data.root="
    ):
        batches(tiny_recipe(tmp_path, f"data.root={tmp_path / 'nowhere'}"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match=r"empty: no photos in it; expected \.png, "):
        batches(tiny_recipe(tmp_path, f"data.root={tmp_path / 'empty'}"))


def test_the_cache_keeps_what_fits_and_no_more(tmp_path):
    recipe = tiny_recipe(tmp_path)
    pictures = PhotoCache(recipe.data)
    pictures.room = 2 * pictures[0].nbytes + 600  # room for what comes first: photos are wider and wider
    pictures.kept.clear()
    for index in range(5):
        assert np.array_equal(pictures[index], pictures[index])
    assert sorted(pictures.kept) == [0, 1]


def test_another_data_set_of_timm_gives_its_photos_and_skips_bad_ones(tmp_path):
    write_photos(tmp_path / "set" / "train" / "label")
    (tmp_path / "set" / "train" / "label" / "corrupt.png").write_bytes(b"no picture")
    settings = ("data.dataset=torch/image_folder", f"data.root={tmp_path / 'set'}", "data.sizes=[16]", "steps=12")
    found = batches(tiny_recipe(tmp_path, *settings))
    assert all(batch.pixels.shape == (2, 3, 16, 16) for batch in found)
    (text,) = {text for batch in found for text in batch.bad}
    assert text.endswith(
        "set/train/label/corrupt.png: not a JPEG, PNG or WebP picture; convert it, or copy it again if cut off"
    )
