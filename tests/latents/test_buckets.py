"""The part of a photo that is encoded, and the size to which it is brought."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaezoo.errors import ImageError
from vaezoo.latents.buckets import SDXL_BUCKETS, Framing, bucket_sizes, kohya_sizes


@pytest.mark.parametrize(
    ("photo", "bucket", "box"),
    [
        ((1024, 1024), "1024x1024", (0, 0, 1024, 1024)),
        ((3000, 2000), "1216x832", (38.4615, 0, 2961.5385, 2000)),  # as sd-scripts resizes and crops it
        ((2000, 3000), "832x1216", (0, 38.4615, 2000, 2961.5385)),
        ((1920, 1080), "1344x768", (15, 0, 1905, 1080)),
        ((1344, 704), "1344x704", (0, 0, 1344, 704)),
        ((100, 5000), "512x2048", (0, 2300, 100, 2700)),
    ],
)
def test_a_photo_goes_to_the_bucket_of_sdxl_with_the_nearest_ratio(photo, bucket, box):
    frame = Framing("buckets", 1024, 8).frame(*photo, "x")
    assert frame.bucket == bucket
    assert frame.box == pytest.approx(box, abs=1e-3)


def test_the_table_is_that_of_sdxl_and_is_scaled_to_other_sizes():
    table = bucket_sizes(1024, 8)
    assert len(table) == 2 * len(SDXL_BUCKETS) - 1 == 41
    assert all(side % 64 == 0 for sides in table for side in sides)
    assert bucket_sizes(512, 8) == [(width // 2, height // 2) for width, height in table]
    assert (256, 256) in bucket_sizes(256, 32)
    assert all(side % 32 == 0 for sides in bucket_sizes(256, 32) for side in sides)


def test_kohyas_table_is_computed_as_sd_scripts_does():
    """As its `make_bucket_resolutions((1024, 1024), 256, 2048)` and `((512, 512), 256, 1024)` do."""
    table = kohya_sizes(1024, 8)
    assert len(table) == 41
    assert {(256, 2048), (832, 1216), (896, 1152), (1152, 896)} <= set(table)
    assert not {(832, 1152), (1088, 896)} & set(table)
    assert len(kohya_sizes(512, 8)) == 17
    assert Framing("kohya", 1024, 8).frame(5000, 4000, "x").bucket == "1152x896"  # 1088x896 in SDXL's table
    assert kohya_sizes(64, 8) == [(64, 64)]


@pytest.mark.parametrize(
    ("photo", "size", "bucket", "box"),
    [
        ((101, 67), None, "96x64", (2, 1, 98, 65)),  # not resampled
        ((96, 64), 96, "96x64", (0, 0, 96, 64)),
        ((200, 100), 100, "96x48", (0, 0, 200, 100)),
        ((203, 100), 100, "96x48", (1.5, 0, 201.5, 100)),
    ],
)
def test_a_photo_of_its_own_size_is_cropped_to_multiples_and_reduced_to_a_limit(photo, size, bucket, box):
    frame = Framing("multiple", size, 16).frame(*photo, "x")
    assert (frame.bucket, frame.box) == (bucket, box)


def test_a_photo_smaller_than_the_multiple_is_bad():
    with pytest.raises(ImageError, match="x: 40 x 15 pixels, too small for the multiple of 16 pixels of this model"):
        Framing("multiple", None, 16).frame(40, 15, "x")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["center", "multiple", "buckets", "kohya"]), st.integers(16, 3000), st.integers(16, 3000))
def test_every_part_lies_in_its_photo_and_keeps_its_ratio(resize, width, height):
    multiple = 8 if min(width, height) * 256 >= 8 * max(width, height) else 1
    frame = Framing(resize, 256, multiple).frame(width, height, "x")
    left, top, right, bottom = frame.box
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert (right - left) * frame.height == pytest.approx((bottom - top) * frame.width)
