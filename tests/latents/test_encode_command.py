"""`vaezoo encode`, as a person types it, and encoding in several processes that are killed."""

import json
import os
import random
import signal
import time

import pytest
from support.commands import run
from support.encoding import MODEL, dataset_of, encode, noise, shard_bytes, write_noise
from support.kills import content, forked

from vaezoo.data.photo_place import PhotoPlace
from vaezoo.errors import TrainingError
from vaezoo.inference import optimize
from vaezoo.latents import shard_job
from vaezoo.latents.encode_jobs import chunks
from vaezoo.latents.shard_encoder import usual_batch

SMALL = ["--size", "16", "--shard-size", "4", "--batch", "2", "--compute", "fp32", "--device", "cpu"]


@pytest.fixture(autouse=True)
def same_memory(monkeypatch):
    """The command keeps freed memory, which would last for all later tests of this process."""
    monkeypatch.setattr(optimize, "keep_freed_memory", lambda: True)


@pytest.fixture
def data(tmp_path):
    return write_noise(tmp_path / "photos", 5)


def test_the_command_says_what_it_made_skipped_and_could_not_read(data, out, capsys):
    words = ["encode", MODEL, "--data", str(data), "--out", str(out), *SMALL, "--workers", "0"]
    text = run(capsys, *words)
    assert f"{out}: 5 latents (5 at 16x16) in 2 shards\nmade 2 shards in " in text
    (data / "00.png").unlink()
    noise(9).save(data / "01.png")
    (data / "9.png").write_bytes(b"no photo")
    run(capsys, *words)
    assert dataset_of(out)["gone"] == ["00.png"]
    assert [bad["key"] for bad in dataset_of(out)["bad"]] == ["9.png"]
    (data / "9.png").write_bytes(b"still none")
    text = run(capsys, *words)
    assert "skipped 2 that were done before\n1 photo had changed: 9.png\n" in text
    assert "gone from the source, with their latents kept: 00.png" in text


def test_json_is_one_object(data, out, capsys):
    words = ["encode", MODEL, "--data", str(data), "--out", str(out), *SMALL, "--workers", "0", "--json"]
    result = json.loads(run(capsys, *words))
    assert (result["shards"], result["made"], result["count"], result["bad"]) == (2, 2, 5, [])
    assert result["latent_stats"] == dataset_of(out)["latent_stats"]


def test_a_job_encodes_its_shards_only_and_reports_one_line(data, out, capsys):
    encode(data, out)
    expected = shard_bytes(out)
    for path in (out / "shards").iterdir():
        path.unlink()
    words = ["--device", "cpu", "--batch", "2", "--workers", "0"]
    assert shard_job.main([str(out), "00001-16x16", *words]) == 0
    assert shard_bytes(out) == {name: data for name, data in expected.items() if name.startswith("00001")}
    (data / "00.png").write_bytes(b"no photo")
    assert shard_job.main([str(out), "00000-16x16", *words, "--bad", "refuse"]) == shard_job.FAILED
    assert capsys.readouterr().err.endswith(
        "00.png: not a JPEG, PNG or WebP picture; convert it, or copy it again if cut off\n"
    )


def test_batches_of_larger_photos_are_smaller():
    found = [usual_batch(f"00003-{bucket}") for bucket in ("256x256", "1216x832", "64x128", "16x16", "4096x4096")]
    assert found == [16, 1, 128, 256, 1]


def test_jobs_get_several_shards_each_but_not_too_many():
    names = [str(number) for number in range(100)]
    for jobs, size in ((1, 16), (2, 12), (8, 3), (64, 1)):
        divided = list(chunks(names, jobs))
        assert [name for part in divided for name in part] == names
        assert max(map(len, divided)) == size


@pytest.mark.slow
def test_jobs_make_the_same_shards_as_one_process_and_a_failed_one_is_named(data, out, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    encode(data, out.with_name("one"), model=MODEL)
    summary = encode(data, out, model=MODEL, jobs=2)
    assert summary.facts.count == summary.photos == 5
    assert shard_bytes(out) == shard_bytes(out.with_name("one"))
    assert not list((out / "logs").iterdir())
    (data / "00.png").write_bytes(b"no photo")
    with pytest.raises(TrainingError, match=r"1 of 1 shards are missing; 00000-16x16: .*00\.png: not a JPEG"):
        encode(data, out, model=MODEL, jobs=2, bad="refuse")


@pytest.mark.slow
def test_a_killed_process_that_decodes_is_one_error_and_the_same_call_continues(data, out, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(PhotoPlace, "hashed_picture", lambda place: os.kill(os.getpid(), signal.SIGKILL))
        with pytest.raises(TrainingError, match=r"^DataLoader worker .*; .*; the same call continues$"):
            encode(data, out, workers=1)
    assert encode(data, out).made


@pytest.mark.slow
def test_two_encoders_that_are_killed_at_random_moments_leave_the_shards_of_one_that_is_not(tmp_path, out):
    data, draw, kills = write_noise(tmp_path / "photos", 30, (60, 60)), random.Random(0), 0
    begin = time.monotonic()
    assert os.waitpid(forked(lambda: encode(data, out.with_name("whole"))), 0)[1] == 0
    seconds = time.monotonic() - begin
    while kills < 6:
        children = [forked(lambda: encode(data, out)) for _ in range(2)]
        time.sleep(draw.uniform(0, seconds / 2))
        for child in children:
            os.kill(child, signal.SIGKILL)
            kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert [os.waitpid(forked(lambda: encode(data, out)), 0)[1] for _ in range(2)] == [0, 0]
    assert shard_bytes(out) == shard_bytes(out.with_name("whole"))
    assert dataset_of(out) == dataset_of(out.with_name("whole"))
    assert not [name for name in content(out) if ".vaezoo-tmp" in name]
