"""Exports, read back by the reader of each layout, or one written after the facts of its source."""

import json
import os
import warnings

import numpy as np
import pytest
import torch
from safetensors import safe_open
from support.disk import full_disk
from support.latent_folders import MODEL, PLAIN, write_latents

from vaezoo.errors import FileError, InputError
from vaezoo.latents.exports.formats import EXPORTS, export_latents
from vaezoo.latents.exports.kohya_npz import METADATA, crop_box
from vaezoo.latents.latent_dataset import LatentDataset
from vaezoo.latents.shard_files import DATASET

TWO = {"32x16": 1, "16x16": 1}
LABELS = ("cat", "ant", "cow")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("latents") / "out"
    return write_latents(path, {"32x16": 10}, labels=LABELS, captions=True)


@pytest.fixture(scope="module")
def plain(folder):
    """The modes of all samples."""
    return list(LatentDataset(folder, sample=False, normalize=False))


class LightningDiTReader:
    """As `datasets/img_latent_dataset.py` of hustvl/LightningDiT@2725fed reads a folder.

    It globs *.safetensors in order, takes the number of photos from the shape of `labels`, the statistics from
    `latents_stats.pt`, a random one of `latents` and `latents_flip`, and returns ((z - mean) / std, label).
    """

    def __init__(self, path):
        files = sorted(str(p) for p in path.iterdir() if p.suffix == ".safetensors")
        self.rows = [(f, i) for f in files for i in range(self.open(f).get_slice("labels").get_shape()[0])]
        self.stats = torch.load(path / "latents_stats.pt", weights_only=True)

    def open(self, path):
        return safe_open(path, framework="pt", device="cpu")

    def read(self, index, name):
        path, row = self.rows[index]
        with self.open(path) as file:
            z, label = file.get_slice(name)[row : row + 1], file.get_slice("labels")[row : row + 1]
        return ((z - self.stats["mean"]) / self.stats["std"]).squeeze(0), label.squeeze(0)


def test_lightningdit_reads_its_layout(folder, plain, tmp_path):
    text = export_latents(folder, tmp_path / "dit", "lightningdit", sample=False)
    assert text == "10 latents in 3 files, raw, the posterior mode; 3 classes"
    reader = LightningDiTReader(tmp_path / "dit")
    assert len(reader.rows) == 10
    assert {tuple(value.shape) for value in reader.stats.values()} == {(1, 4, 1, 1)}
    normalized = torch.stack([reader.read(i, "latents")[0] for i in range(10)])
    torch.testing.assert_close(normalized.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(normalized.std(dim=(0, 2, 3), correction=0), torch.ones(4))
    for i, sample in enumerate(plain):
        z, label = reader.read(i, "latents")
        raw = z * reader.stats["std"][0] + reader.stats["mean"][0]
        torch.testing.assert_close(raw, sample["latents"])
        mirrored = reader.read(i, "latents_flip")[0] * reader.stats["std"][0] + reader.stats["mean"][0]
        torch.testing.assert_close(mirrored, -sample["latents"])  # as the folder was written
        assert label.dtype == torch.int64
        assert int(label) == sample["label"]
    assert json.loads((tmp_path / "dit" / "classes.json").read_text()) == sorted(LABELS)


def test_samples_are_drawn_once_and_the_same_again(folder, plain, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert f"one posterior sample (seed {seed})" in export_latents(
            folder, tmp_path / name, "lightningdit", seed=seed
        )
    a, b, c = (
        torch.cat([safe_open(p, "pt").get_tensor("latents") for p in sorted((tmp_path / name).glob("*.safetensors"))])
        for name in "abc"
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert (a - torch.stack([sample["latents"] for sample in plain])).abs().mean() > 0.1


def test_photos_without_labels_have_label_0_and_it_is_said(tmp_path):
    folder = write_latents(tmp_path / "out", {"32x16": 3})
    assert "label 0 for all, since photos have none" in export_latents(folder, tmp_path / "dit", "lightningdit")
    assert int(LightningDiTReader(tmp_path / "dit").read(2, "latents")[1]) == 0
    assert not list(tmp_path.glob(".*"))


def test_webdataset_reads_its_tars(folder, plain, tmp_path):
    assert export_latents(folder, tmp_path / "wds", "webdataset") == "10 posteriors in 3 .tar files, raw"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # webdataset leaves its shards to the garbage collector
        import webdataset

        urls = sorted(str(path) for path in (tmp_path / "wds").glob("*.tar"))
        found = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    assert [sample["__key__"] for sample in found] == [f"{i:09d}" for i in range(10)]
    for sample, ours in zip(found, plain, strict=True):
        assert sample["json"]["key"] == ours["key"]
        assert sample["cls"] == ours["label"]
        assert sample["txt"] == ours["caption"]
        assert torch.equal(torch.from_numpy(sample["moments.npy"][:4]), ours["latents"])
        assert np.array_equal(sample["moments_flip.npy"][:4], -sample["moments.npy"][:4])
        assert np.array_equal(sample["moments_flip.npy"][4:], sample["moments.npy"][4:])
    about = json.loads((tmp_path / "wds" / DATASET).read_text())
    assert about["classes"] == sorted(LABELS)
    assert len(about["latent_stats"]["mean"]) == 4
    export_latents(folder, tmp_path / "again", "webdataset")
    assert [p.read_bytes() for p in sorted((tmp_path / "again").iterdir())] == [
        p.read_bytes() for p in sorted((tmp_path / "wds").iterdir())
    ]


def kohya_read(path, end=""):
    """As `LatentsCachingStrategy._default_load_latents_from_disk` of kohya-ss/sd-scripts@48d368fa reads a cache."""
    cache = np.load(path)
    return (
        cache[f"latents{end}"],
        cache[f"original_size{end}"],
        cache[f"crop_ltrb{end}"],
        cache[f"latents_flipped{end}"],
    )


@pytest.mark.parametrize(("form", "end"), [("kohya-sd", ""), ("kohya-sdxl", "")])
def test_kohya_reads_its_caches(folder, plain, tmp_path, form, end):
    suffix = form.partition("-")[2]
    text = export_latents(folder, tmp_path, form, sample=False)
    assert text.startswith(f"10 caches *_{suffix}.npz and {METADATA}; latents are the posterior mode, raw")
    assert len(list(tmp_path.rglob("*.npz"))) == 10
    for sample in plain:
        # beside the photo, with its width and height as `get_latents_npz_path` asks for
        path = f"{tmp_path / os.path.splitext(sample['key'])[0]}_0064x0032_{suffix}.npz"
        latents, original, crop, mirrored = kohya_read(path, end)
        assert np.array_equal(latents, sample["latents"].numpy())
        assert np.array_equal(mirrored, -latents)
        assert original.tolist() == [64, 32]
        assert crop.tolist() == [0, 0, 32, 16]
    metadata = json.loads((tmp_path / METADATA).read_text())
    assert metadata["32x16/3.png"] == {"caption": "photo 3", "image_size": [64, 32]}
    export_latents(folder, tmp_path, form)  # again, over the files of before
    assert len(list(tmp_path.rglob("*.npz"))) == 10


def test_kohya_crops_keep_a_side_of_the_bucket_exactly():
    """Rounding once made the side a hair longer than the bucket, and its offset -1 instead of 0."""
    assert crop_box((896, 1152), (3000, 2000)) == pytest.approx((0, 277, 896, 277 + 896 / 1.5), abs=1e-9)
    assert crop_box((832, 1216), (701, 497))[::2] == (0, 832)
    assert crop_box((1152, 896), (2000, 3000))[1::2] == (0, 896)


@pytest.mark.parametrize(("form", "scale", "shift"), [("kohya-sd3", 1, 0), ("kohya-flux", 0.3611, 0.1159)])
def test_kohya_caches_of_16_channels_name_the_size_and_flux_scales_them(tmp_path, monkeypatch, form, scale, shift):
    monkeypatch.setitem(PLAIN, "model", {**MODEL, "latent": {"kind": "deterministic", "channels": 16}})
    folder = write_latents(tmp_path / "in", {"32x16": 2}, kind="mean", channels=16)
    export_latents(folder, tmp_path / "out", form)
    suffix = form.partition("-")[2]
    for sample in LatentDataset(folder, normalize=False):
        stem = os.path.splitext(sample["key"])[0]
        latents, _, _, mirrored = kohya_read(f"{tmp_path / 'out' / stem}_0064x0032_{suffix}.npz", "_2x4")
        np.testing.assert_allclose(latents, (sample["latents"].numpy() - shift) * scale, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(mirrored, (-sample["latents"].numpy() - shift) * scale, rtol=1e-5, atol=1e-6)


def refused(tmp_path, message, form, out="new", error=InputError, **options):
    folder = tmp_path / "in"
    if not folder.exists():
        write_latents(folder, options.pop("buckets", {"32x16": 3}), **options)
    with pytest.raises(error, match=message) as raised:
        export_latents(folder, tmp_path / out, form)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("form", "message", "options"),
    [
        ("kohya", "did you mean 'kohya-sd', 'kohya-sd3' or", {}),
        (
            "lightningdit",
            "one size, these are 16x16, 32x16; encode with --resize center",
            {"buckets": TWO},
        ),
        ("lightningdit", "reads mirrored latents, too; encode with --flip", {"flip": False}),
        ("lightningdit", "some photos have no label", {"labels": (1, None)}),
        ("kohya-flux", "latents of 16 channels and 8 pixels per position, these have 4 and 8", {}),
    ],
)
def test_latents_that_do_not_fit_a_layout_are_one_clear_error(tmp_path, form, message, options):
    refused(tmp_path, message, form, **options)


def test_photos_of_one_name_and_names_that_lead_out_are_refused(tmp_path):
    refused(tmp_path, "32x16/0.jpg and 32x16/0.png would both be", "kohya-sd", keys={2: "32x16/0.jpg"})
    refused(tmp_path / "b", r"\.\./0\.png: the name of this photo leads out", "kohya-sd", keys={2: "../0.png"})


def test_kohya_takes_only_photos_of_the_sizes_that_it_gives_them(tmp_path, monkeypatch):
    monkeypatch.setitem(PLAIN, "preprocessing", {**PLAIN["preprocessing"], "resize": "buckets"})
    refused(tmp_path, "encoded with --resize buckets: .* encode with --resize kohya", "kohya-sd")


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.png").write_bytes(b"mine")
    for form in ("lightningdit", "webdataset"):
        refused(tmp_path, "full: exists and is not an empty folder; name a new one", form, "full", FileError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "in"]
    assert set(EXPORTS) == {"lightningdit", "webdataset", "kohya-sd", "kohya-sdxl", "kohya-sd3", "kohya-flux"}


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(folder, tmp_path):
    for form in EXPORTS:
        if form not in ("kohya-sd3", "kohya-flux"):  # of latents with 16 channels
            with full_disk(600), pytest.raises(FileError, match=rf"{tmp_path}/new.*: cannot be written") as raised:
                export_latents(folder, tmp_path / "new", form)
            assert "\n" not in str(raised.value)
            assert not [path for path in tmp_path.rglob("*") if path.is_file()]
