"""Encoding a data set: what is stored, second calls, changed photos, kills and faults."""

import contextlib
import os
import shutil

import pytest
import torch
from support.disk import full_disk
from support.encoding import (
    add_to_tar,
    all_modes,
    dataset_of,
    encode,
    noise,
    planned,
    rows_of,
    shard_bytes,
    smallest,
    write_noise,
)
from support.kills import content, rerun_after_kills

import vaezoo
from vaezoo.data.photos import photos
from vaezoo.errors import FileError, ImageError, InputError
from vaezoo.io.folder_lock import file_lock
from vaezoo.io.images import to_tensor
from vaezoo.io.resize_and_pad import resize_and_crop
from vaezoo.latents import shard_encoder
from vaezoo.latents.shard_files import PLAN, SHARDS, read_shard


@pytest.fixture
def data(tmp_path):
    """Seven photos of noise, for two shards."""
    return write_noise(tmp_path / "photos", 7)


def test_every_photo_is_stored_as_the_model_encodes_it_upright_and_mirrored(data, out):
    (data / "03.png").unlink()
    noise(3).save(data / "03.jpg", quality=95)
    summary = encode(data, out, flip=True, dtype="fp32")
    assert (summary.shards, summary.made, summary.facts.count, summary.photos) == (2, 2, 7, 7)
    assert summary.facts.buckets == {"16x16": 7}
    vae, stored, mirrored = smallest(), rows_of(out), rows_of(out, "moments_flip")
    for photo in photos(data):
        images = to_tensor(resize_and_crop(photo.read(), 16))
        with torch.inference_mode():
            expected = [vae.encode(each).moments[0] for each in (images, images.flip(-1))]
        torch.testing.assert_close(stored[photo.name], expected[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(mirrored[photo.name], expected[1], atol=1e-4, rtol=1e-4)
    _, lines = read_shard(out, "00000-16x16")
    assert lines[0].crop == (2.0, 0.0, 22.0, 20.0)
    assert lines[0].resized == (16, 16)
    assert lines[0].size == (data / "00.png").stat().st_size


def test_the_statistics_are_those_of_all_stored_latents_at_once(data, out):
    summary = encode(data, out)
    latents = torch.cat(all_modes(out))
    assert latents.shape == (7, 4, 2, 2)
    expected = {"mean": latents.mean(dim=(0, 2, 3)), "std": latents.std(dim=(0, 2, 3), correction=0)}
    for name, values in expected.items():
        torch.testing.assert_close(
            torch.tensor(getattr(summary.latent_stats, name)).double(), values, atol=1e-6, rtol=0
        )
        assert dataset_of(out)["latent_stats"][name] == list(getattr(summary.latent_stats, name))
    assert dataset_of(out)["latent_stats"]["size"] == 16
    vaezoo.LatentStats(**dataset_of(out)["latent_stats"]).check(4, "test")


def test_a_second_call_makes_nothing_and_a_third_only_what_is_new(data, out):
    encode(data, out)
    first = content(out)
    again = encode(data, out)
    assert (again.made, again.added, again.changed, again.photos) == (0, [], [], 0)
    assert content(out) == first
    noise(50).save(data / "005.png")  # between the others
    more = encode(data, out)
    assert (more.made, more.added, more.changed, more.facts.count) == (1, ["005.png"], [], 8)
    assert shard_bytes(out).items() >= {name: data for name, data in first.items() if name in shard_bytes(out)}.items()
    assert planned(out)[-1]["index"] == 7
    assert planned(out)[-1]["shard"] == 2


def test_a_changed_photo_is_encoded_again_and_the_rest_of_the_data_set_stays(data, out):
    encode(data, out)
    before, old = shard_bytes(out), rows_of(out)
    noise(99, (30, 30)).save(data / "05.png")
    summary = encode(data, out)
    assert (summary.made, summary.changed, summary.facts.count) == (1, ["05.png"], 7)
    changed = {name for name, data in shard_bytes(out).items() if data != before[name]}
    assert changed == {"00001-16x16.jsonl", "00001-16x16.safetensors"}
    new = rows_of(out)
    assert [key for key in old if not torch.equal(old[key], new[key])] == ["05.png"]
    fresh = encode(data, out.with_name("fresh"))
    assert fresh.latent_stats == summary.latent_stats
    assert shard_bytes(out.with_name("fresh")) == shard_bytes(out)


def test_verify_finds_a_photo_that_changed_without_another_size_or_time(data, out):
    noise(1).convert("L").save(data / "a.webp", lossless=True)
    encode(data, out)
    path = data / "a.webp"
    status, size = path.stat(), path.stat().st_size
    damaged = bytearray(path.read_bytes())
    damaged[-8] ^= 255
    path.write_bytes(damaged)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == size
    assert encode(data, out).changed == []
    summary = encode(data, out, verify=True)
    assert (summary.changed, summary.made) == (["a.webp"], 1)
    assert encode(data, out, verify=True).changed == []


def test_a_photo_that_is_gone_is_reported_and_keeps_its_latents(data, out):
    encode(data, out)
    old = rows_of(out)
    (data / "05.png").unlink()
    summary = encode(data, out)
    assert (summary.made, summary.facts.gone, summary.facts.count) == (0, ["05.png"], 7)
    assert dataset_of(out)["gone"] == ["05.png"]
    noise(77).save(data / "06.png")  # in the same shard, which is encoded again
    summary = encode(data, out)
    assert (summary.made, summary.changed, summary.facts.gone, summary.facts.count) == (1, ["06.png"], ["05.png"], 7)
    assert torch.equal(rows_of(out)["05.png"], old["05.png"])
    noise(5).save(data / "05.png")
    assert encode(data, out).facts.gone == []


def test_a_damaged_photo_is_skipped_and_listed_or_refused(data, out):
    (data / "02.png").write_bytes(b"\x89PNG\r\n\x1a\n no")
    summary = encode(data, out)
    assert (summary.facts.count, [bad["key"] for bad in summary.facts.bad]) == (6, ["02.png"])
    assert dataset_of(out)["bad"] == [{"key": "02.png", "reason": summary.facts.bad[0]["reason"]}]
    assert "02.png: not a JPEG" in summary.facts.bad[0]["reason"]
    header, lines = read_shard(out, "00000-16x16")
    assert (header.count, [line.row for line in lines]) == (3, [0, 1, None, 2])
    with pytest.raises(ImageError, match=r"02\.png: not a JPEG"):
        encode(data, out.with_name("other"), bad="refuse")
    with pytest.raises(ImageError, match=r"02\.png: not a JPEG"):
        encode(data, out, bad="refuse")  # which has nothing left to encode
    noise(2).save(data / "02.png")
    assert encode(data, out).facts.count == 7


def test_two_photos_of_one_key_are_refused_with_both_places(tmp_path, out):
    for name in ("a.tar", "b.tar"):
        add_to_tar(tmp_path / name, {"1.png": (write_noise(tmp_path / "x", 1) / "00.png").read_bytes()})
    with pytest.raises(InputError, match=r"b\.tar\[1\.png\] and .*a\.tar\[1\.png\] have the same key, 1\.png; rename"):
        encode(tmp_path / "*.tar", out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 24}, "latents: was encoded with size 16, not 24; give another folder, or the settings of this one"),
        ({"flip": True}, "was encoded with flip off, not on"),
        pytest.param({"dtype": "fp16"}, "was encoded with dtype bf16, not fp16", marks=pytest.mark.slow),
        pytest.param({"resize": "multiple"}, "was encoded with resize center, not multiple", marks=pytest.mark.slow),
        (
            {"model": "taesd"},
            r"with the model vae_f8_z4_micro \(network .*, weights .*\), not taesd_f8_z4 \(",
        ),
    ],
)
def test_another_model_or_other_settings_in_the_same_folder_are_refused(data, out, options, message):
    encode(data, out)
    before = content(out)
    if "model" in options:
        options["model"] = vaezoo.create("taesd")
    with pytest.raises(InputError, match=message):
        encode(data, out, **options)
    with pytest.raises(InputError, match=r"was encoded with data .*photos, not .*other"):
        encode(write_noise(data.with_name("other"), 1), out)
    assert content(out) == before


def test_a_folder_of_something_else_is_not_touched(data, tmp_path):
    with pytest.raises(FileError, match=r"photos: has 00\.png and no latents; name a new or empty folder"):
        encode(data, data)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / PLAN).write_text('{"format": "x"}')
    with pytest.raises(FileError, match=r"plan\.json: not written by vaezoo encode"):
        encode(data, tmp_path / "other")


def test_a_full_disk_is_one_error_and_the_same_call_continues(data, out):
    expected = encode(data, out.with_name("expected"), size=64)
    with full_disk(4000), pytest.raises(FileError, match=r"\.safetensors: cannot be written \(.*27"):
        encode(data, out, size=64)
    assert not [name for name in content(out) if ".vaezoo-tmp" in name]
    assert encode(data, out, size=64).facts == expected.facts
    assert shard_bytes(out) == shard_bytes(out.with_name("expected"))


def test_shards_are_the_same_bytes_after_kills_at_changes_of_the_folder(tmp_path, out):
    data = write_noise(tmp_path / "photos", 3)
    out.mkdir()
    kills = rerun_after_kills(
        out,
        lambda: encode(data, out, shard_size=2),
        chosen=lambda events: list(range(8, len(events), 9)),
        ignored=(".lock",),
    )
    assert kills >= 2


@pytest.mark.slow
def test_shards_are_the_same_bytes_after_a_kill_at_any_change_of_the_folder(data, out):
    out.mkdir()
    assert rerun_after_kills(out, lambda: encode(data, out, flip=True), ignored=(".lock",)) > 10


@pytest.mark.slow
def test_a_changed_photo_survives_a_kill_at_any_change_of_the_folder(data, out):
    encode(data, out)
    (data / "04.png").unlink()
    noise(99).save(data / "05.png")
    assert rerun_after_kills(out, lambda: encode(data, out), ignored=(".lock",)) > 4
    assert dataset_of(out)["count"] == 7


def test_a_shard_that_another_process_encodes_is_waited_for_and_not_made_twice(data, out, monkeypatch):
    encode(data, out.with_name("whole"))
    timeouts = []

    def lock(path, timeout=0):
        """The first shard is locked at first; when it is asked for again, the other process has made it."""
        if path.name == "00000-16x16.lock":
            timeouts.append(timeout)
            if timeout == 0:
                return contextlib.nullcontext(False)
            for each in (out.with_name("whole") / SHARDS).glob("00000-*"):
                shutil.copy(each, out / SHARDS)
        return file_lock(path, timeout)

    monkeypatch.setattr(shard_encoder, "file_lock", lock)
    assert encode(data, out).photos == 3
    assert timeouts == [0, -1]
    assert shard_bytes(out) == shard_bytes(out.with_name("whole"))
