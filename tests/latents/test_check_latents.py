"""`check_latents` finds every fault of a folder of latents, one sentence for each."""

import json
import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from support.latent_folders import line, write_latents

from vaezoo.errors import FileError
from vaezoo.latents.check_latents import check_latents
from vaezoo.latents.encode_plan import read_photos, write_photos
from vaezoo.latents.shard_files import (
    DATASET,
    PLAN,
    PLANNED_PHOTOS,
    manifest_path,
    open_shard,
    read_shard,
    tensors_path,
    write_shard,
)

FIRST, LAST = "00000-32x16", "00002-16x16"


@pytest.fixture
def folder(tmp_path):
    return write_latents(tmp_path / "out", {"32x16": 6, "16x16": 2}, dtype=torch.float32)


def rewritten(folder, name, change=lambda tensors: None, lines=None):
    """Write a shard again with other tensors or lines."""
    tensors = open_shard(folder, name)
    values = {key: tensors.get_tensor(key) for key in tensors.keys()}  # noqa: SIM118
    change(values)
    write_shard(folder, name, values, lines or read_shard(folder, name)[1])


def test_a_whole_folder_has_no_faults(folder):
    assert list(check_latents(folder)) == []


def not_finite(folder):
    rewritten(folder, LAST, lambda values: values["moments_flip"][1, 5, 0, 0].fill_(torch.nan))


def twice(folder):
    lines = read_shard(folder, LAST)[1]
    rewritten(folder, LAST, lines=[lines[0], line("32x16", 0, 1, (), False, {})])


def same_index(folder):
    rewritten(folder, LAST, lambda values: values["index"].zero_())


def cut_off(folder):
    path = tensors_path(folder, FIRST)
    path.write_bytes(path.read_bytes()[:-4])


def other_statistics(folder):
    about = json.loads((folder / DATASET).read_text())
    about["latent_stats"]["mean"][2] += 1e-4
    (folder / DATASET).write_text(json.dumps(about))


def other_values(folder):
    tensors = open_shard(folder, LAST)
    values = {key: tensors.get_tensor(key).clone() for key in tensors.keys()}  # noqa: SIM118
    values["moments"][0, 0, 0, 0] += 1e-3
    save_file(values, tensors_path(folder, LAST), tensors.metadata())


def mirrored_value(folder):
    tensors = open_shard(folder, LAST)
    values = {key: tensors.get_tensor(key).clone() for key in tensors.keys()}  # noqa: SIM118
    values["moments_flip"][0, 0, 0, 0] += 1e-3
    save_file(values, tensors_path(folder, LAST), tensors.metadata())


def fewer_lines(folder):
    rewritten(folder, LAST, lines=read_shard(folder, LAST)[1][:1])


def another_plan(folder):
    plan = read_photos(folder)
    write_photos(folder, [replace(plan[0], shard=7), *(photo for photo in plan[1:] if photo.shard)])


def an_edited_photo(folder):
    plan = read_photos(folder)
    write_photos(folder, [replace(plan[0], mtime=1.5), *plan[1:]])


def another_count(folder):
    about = json.loads((folder / DATASET).read_text())
    (folder / DATASET).write_text(json.dumps({**about, "count": 9}))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (not_finite, [rf"{LAST}\.safetensors: moments_flip has values that are not finite, in rows 1"]),
        (
            twice,
            [
                rf"{LAST}\.safetensors: 32x16/0\.png is in shard {FIRST} already",
                rf"{LAST}\.safetensors: not of the photos that plan\.jsonl has for it now; encode",
                rf"dataset\.json: does not have shard {LAST} as it is now",
            ],
        ),
        (
            same_index,
            [rf"{LAST}\.safetensors: 0 is in shard {FIRST} already", rf"{LAST}\.safetensors: 0 is in it already"],
        ),
        (
            cut_off,
            [rf"{FIRST}\.safetensors: missing or damaged", r"dataset\.json: count is 8, and the shards have 4"],
        ),
        (other_statistics, [r"dataset\.json: latent_stats are not those of the latents"]),
        (
            other_values,
            [r"the sums in its header are not those of its latents", r"latent_stats are not those of the latents"],
        ),
        (mirrored_value, [rf"{LAST}\.safetensors: its tensors are not those that were written; remove it, then"]),
        (
            fewer_lines,
            [
                rf"{LAST}\.safetensors: its manifest has 1 rows, and the header says 2",
                rf"{LAST}\.safetensors: not of the photos that plan\.jsonl has for it now; encode",
                r"dataset\.json: does not have shard 00002-16x16 as it is now",
            ],
        ),
        (another_count, [r"dataset\.json: count is 9, and the shards have 8"]),
        (
            lambda folder: tensors_path(folder, LAST).unlink(),
            [rf"{LAST}\.safetensors: missing; encode", r"dataset\.json: count is 8, and the shards have 6"],
        ),
        (lambda folder: manifest_path(folder, LAST).unlink(), [rf"{LAST}\.jsonl", r"dataset\.json: count is 8"]),
        (lambda folder: (folder / DATASET).unlink(), [r"dataset\.json: cannot be read"]),
        (lambda folder: (folder / PLANNED_PHOTOS).write_text("{\n"), [r"plan\.jsonl: damaged"]),
        (lambda folder: (folder / PLANNED_PHOTOS).write_text("[" * 100_000), [r"plan\.jsonl: damaged"]),
        (
            another_plan,
            [r"00007-32x16\.safetensors: missing; encode", rf"{FIRST}\.safetensors: not in plan\.jsonl; encode"],
        ),
        (an_edited_photo, [rf"{FIRST}\.safetensors: not of the photos that plan\.jsonl has for it now; encode"]),
        (
            lambda folder: (folder / DATASET).write_text('{"format": "vaezoo-latents", "version": 1}'),
            [r"damaged \(KeyError"],
        ),
    ],
)
def test_each_fault_is_one_sentence(folder, damage, expected):
    damage(folder)
    found = list(check_latents(folder))
    assert len(found) == len(expected), found
    for text, pattern in zip(found, expected, strict=True):
        assert re.search(pattern, text), (pattern, text)
        assert "\n" not in text


def test_another_folder_is_an_error(folder, tmp_path):
    with pytest.raises(FileError, match="not a folder of latents"):
        list(check_latents(tmp_path))
    (folder / PLAN).write_text('{"format": "vaezoo-latents", "version": 3}')
    with pytest.raises(FileError, match="version 3 of the format"):
        list(check_latents(folder))
