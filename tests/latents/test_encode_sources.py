"""Encoding of several sizes, captions, labels, archives, and photos whose latents cannot be stored."""

import io
import json
import shutil
import sys

import pytest
import torch
from support.encoding import add_to_tar, dataset_of, encode, noise, rows_of, shard_bytes, smallest, write_noise

import vaezoo
from vaezoo.errors import FileError, InputError
from vaezoo.latents.shard_files import SHARDS, open_shard, read_shard


def png(seed: int) -> bytes:
    file = io.BytesIO()
    noise(seed).save(file, format="PNG")
    return file.getvalue()


def test_shards_have_one_size_each_and_a_photo_that_changed_its_size_moves(tmp_path, out):
    data = write_noise(tmp_path / "photos", 3, (24, 20))
    noise(7, (20, 33)).save(data / "a.png")
    (data / "b.png").write_bytes(b"no photo")
    summary = encode(data, out, resize="multiple", size=None)
    assert summary.facts.buckets == {"16x32": 1, "24x16": 3}
    assert [bad["key"] for bad in summary.facts.bad] == ["b.png"]
    assert sorted(shard_bytes(out))[::2] == ["00000-24x16.jsonl", "00001-16x32.jsonl"]
    assert open_shard(out, "00001-16x32").get_tensor("moments").shape == (1, 8, 4, 2)
    noise(8, (24, 20)).save(data / "a.png")
    noise(9, (24, 20)).save(data / "b.png")
    summary = encode(data, out, resize="multiple", size=None)
    assert (summary.facts.buckets, summary.facts.bad, summary.made) == ({"24x16": 5}, [], 1)
    assert sorted(shard_bytes(out))[::2] == ["00000-24x16.jsonl", "00001-24x16.jsonl"]
    assert sorted(rows_of(out)) == ["00.png", "01.png", "02.png", "a.png", "b.png"]
    assert open_shard(out, "00001-24x16").get_tensor("index").tolist() == [5, 6]


def test_buckets_are_those_of_sdxl_at_another_size(tmp_path, out):
    data = write_noise(tmp_path / "photos", 1, (90, 60))
    noise(3, (50, 50)).save(data / "a.png")
    assert encode(data, out, resize="buckets", size=64).facts.buckets == {"64x64": 1, "72x48": 1}


def test_captions_and_labels_are_stored_and_a_new_caption_is_noticed(tmp_path, out):
    data = write_noise(tmp_path / "photos" / "cats", 2).parent
    (data / "cats" / "00.txt").write_text("a cat\n")
    (data / "cats" / "01.json").write_text('{"caption": "two cats"}')
    encode(data, out, captions=True, labels=True)
    lines = read_shard(out, "00000-16x16")[1]
    assert [(line.key, line.caption, line.label) for line in lines] == [
        ("cats/00.png", "a cat", "cats"),
        ("cats/01.png", "two cats", "cats"),
    ]
    (data / "cats" / "00.txt").write_text("a black cat")
    assert encode(data, out, captions=True, labels=True).changed == ["cats/00.png"]
    assert read_shard(out, "00000-16x16")[1][0].caption == "a black cat"
    with pytest.raises(InputError, match="no photo has a label; leave out labels, or add them"):
        encode(data / "cats", out.with_name("other"), labels=True)


def test_shards_of_a_webdataset_are_encoded_with_their_labels_and_texts(tmp_path, out):
    add_to_tar(tmp_path / "0.tar", {"a.png": png(1), "a.cls": b"3", "a.txt": b"one"})
    add_to_tar(tmp_path / "1.tar", {"b.png": png(2), "b.cls": b"4", "b.json": json.dumps({"text": "two"}).encode()})
    files = {"./c/d.png": png(1), "./c/d.txt": b"one", "./e.png": png(2), "./e.cls": b"\n"}  # as `tar -c .` names them
    encode(add_to_tar(tmp_path / "dots.tar", files), out.with_name("dots"), captions=True, labels=True)
    dataset = vaezoo.LatentDataset(out.with_name("dots"))
    assert [(photo["caption"], photo["label"]) for photo in dataset] == [("one", 0), ("", -1)]
    assert dataset.classes == ("c",)
    encode(f"{tmp_path}/{{0..1}}.tar", out, captions=True, labels=True)
    (shard,) = dataset_of(out)["shards"]
    lines = read_shard(out, shard["name"])[1]
    assert [(line.key, line.label, line.caption) for line in lines] == [("a.png", 3, "one"), ("b.png", 4, "two")]
    assert lines[1].source == f"{tmp_path}/1.tar[b.png]"
    write_noise(tmp_path / "photos", 3)
    encode(tmp_path / "photos", out.with_name("files"))
    assert torch.equal(rows_of(out)["b.png"], rows_of(out.with_name("files"))["02.png"])
    add_to_tar(tmp_path / "0.tar", {"other.png": png(9), "c.png": png(5)})  # a.png is gone, and others are in its place
    summary = encode(f"{tmp_path}/{{0..1}}.tar", out, captions=True, labels=True)
    assert (summary.added, summary.facts.gone) == (["c.png", "other.png"], ["a.png"])


def test_photos_of_a_parquet_file_are_encoded(tmp_path, out):
    pq = pytest.importorskip("pyarrow.parquet")
    import pyarrow as pa

    table = pa.table({"image": [png(0), png(1)], "text": ["one", None], "label": [1.0, float("nan")]})
    pq.write_table(table, tmp_path / "a.parquet")
    encode(tmp_path / "a.parquet", out, captions=True, labels=True)
    lines = read_shard(out, "00000-16x16")[1]
    assert [(line.key, line.caption, line.label) for line in lines] == [
        ("a.parquet/0", "one", 1),
        ("a.parquet/1", None, None),
    ]


def test_deterministic_latents_are_stored_as_their_mean(tmp_path, out):
    data = write_noise(tmp_path / "photos", 1)
    encode(data, out, model=vaezoo.create("taesd"), flip=True, dtype="fp32")
    shard = open_shard(out, "00000-16x16")
    assert sorted(shard.keys()) == ["index", "mean", "mean_flip"]
    assert shard.get_tensor("mean").shape == (1, 4, 2, 2)


def test_latents_beyond_fp16_and_nan_are_bad_photos_that_are_named(tmp_path, out):
    data, vae = write_noise(tmp_path / "photos", 2), vaezoo.create("vae_f8_z4_micro", pretrained=True)
    with torch.no_grad():
        list(vae.encoder.parameters())[-1][0] = 1e5
    summary = encode(data, out, model=vae, dtype="fp16")
    reason = summary.facts.bad[0]["reason"]
    assert "00.png: has a latent of 1e+05, beyond the range of fp16; store latents as bf16 or fp32" in reason
    assert (summary.facts.count, summary.latent_stats, len(summary.facts.bad)) == (0, None, 2)
    assert encode(data, out.with_name("bf16"), model=vae).facts.count == 2
    with torch.no_grad():
        list(vae.encoder.parameters())[-1][0] = torch.nan
    vae.source = None
    with pytest.raises(InputError, match=r"00\.png: the model computes NaN or infinite values for it; remove it"):
        encode(data, out.with_name("nan"), model=vae, bad="refuse")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 20}, "size 20 is not a multiple of 8, which this model needs; take 16"),
        ({"size": 600, "resize": "kohya"}, "size 600 is not a multiple of 64, which sides of kohya's buckets are"),
        ({"size": 4}, "size 4: expected 8 to 16384 pixels"),
        ({"resize": "crop"}, "resize"),
        ({"dtype": "int8"}, "dtype"),
        ({"batch": 0}, "batch 0: expected 1 or more"),
        ({"bad": "ignore"}, "bad"),
        ({"engine": "slurm"}, "engine"),
        ({"shard_size": 0}, "shard_size 0: expected 1 or more photos"),
        ({"jobs": 2}, "jobs encode in processes of their own, which need a model by name"),
    ],
)
def test_wrong_arguments_are_one_error_and_no_folder(tmp_path, out, options, message):
    with pytest.raises(InputError, match=message):
        encode(write_noise(tmp_path / "photos", 1), out, **options)
    assert not (out / SHARDS).exists()


def test_the_model_of_the_plan_is_the_one_that_encodes(tmp_path, out):
    """A model with other weights is another one, also if it has no name."""
    data, vae = write_noise(tmp_path / "photos", 1), vaezoo.create("vae_f8_z4_micro")
    encode(data, out, model=vae)
    with pytest.raises(InputError, match="was encoded with the model"):
        encode(data, out, model=smallest())


def test_labels_that_are_no_int64_are_names_and_half_a_surrogate_pair_is_no_caption(tmp_path, out):
    data = write_noise(tmp_path / "photos", 3)
    for number, text in enumerate(("--5", "9" * 20, "-7")):
        (data / f"{number:02d}.cls").write_text(text)
    encode(data, out, labels=True)
    dataset = vaezoo.LatentDataset(out)
    assert dataset.classes == ("--5", "-7", "9" * 20)
    for text, reason in (('{"caption": "\\ud800"}', "surrogate"), ("[" * 100_000, "recursion")):
        (data / "01.json").write_text(text)
        with pytest.raises(FileError, match=rf"01\.png: its \.json file is damaged \(.*{reason}.*\); correct"):
            encode(data, out.with_name("other"), captions=True)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such file names")
def test_a_path_that_is_not_utf8_is_refused_by_name(tmp_path, out):
    data = write_noise(tmp_path / "photos", 2)
    shutil.copy(data / "01.png", data / "caf\udce9.png")
    with pytest.raises(InputError, match=r"caf\udce9\.png: its path is not UTF-8, and keys of photos are; rename it"):
        encode(data, out)
    (data / "caf\udce9.png").rename(data / "caf\u00e9.png")
    assert encode(data, out).facts.count == 3
    folder = data.rename(tmp_path / "caf\udce9")
    with pytest.raises(FileError, match=r"plan\.json: cannot have the name in .*udce9.*not UTF-8; rename its file or"):
        encode(folder, out.with_name("other"))
