"""`LatentDataset`: samples, draws, flips, normalization, and folders that are not whole."""

import json
import os
import pickle
import sys

import pytest
import torch
from support.latent_folders import write_latents
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

import vaezoo
from vaezoo.errors import FileError, InputError
from vaezoo.latents import latent_dataset
from vaezoo.latents.latent_dataset import LatentDataset
from vaezoo.latents.shard_files import DATASET, PLAN, PLANNED_PHOTOS, SHARDS, manifest_path, tensors_path

COUNT = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_latents(tmp_path_factory.mktemp("latents") / "out", {"32x16": COUNT}, labels=("cat", "ant", None))


def stored(index, kind="moments"):
    """The tensors of a sample as the folder was written with; the second photo of the plan is bad."""
    seed = torch.Generator().manual_seed(index + (index > 0))
    return torch.randn(8 if kind == "moments" else 4, 2, 4, generator=seed).bfloat16().float()


def all_of(dataset, **options):
    return {s["key"]: s for batch in DataLoader(dataset, batch_size=None, **options) for s in [batch]}


def test_a_sample_has_latents_key_and_label(folder):
    dataset = LatentDataset(folder, sample=False, normalize=False)
    assert len(dataset) == COUNT
    assert dataset.latent_stats is None
    for index in (0, 1, 5, -1):
        sample = dataset[index]
        number = index % COUNT
        assert sample["key"] == f"32x16/{number}.png"
        assert torch.equal(sample["latents"], stored(number)[:4])
        assert sample["label"] == (1, 0, -1)[number % 3]
        assert sample["flipped"] is False
        assert "caption" not in sample
    assert dataset.classes == ("ant", "cat")
    assert dataset.buckets["32x16"].tolist() == list(range(COUNT))
    with pytest.raises(IndexError):
        dataset[COUNT]


@pytest.mark.skipif(sys.platform == "win32", reason="has no list of open files")
def test_shards_that_were_read_are_no_open_files_and_not_too_many_maps(folder, monkeypatch):
    monkeypatch.setattr(latent_dataset, "MOST_OPEN", 2)
    dataset, before = LatentDataset(folder), len(os.listdir("/dev/fd"))
    assert [dataset[index]["key"] for index in (9, 0, 5, 9)] == [f"32x16/{number}.png" for number in (9, 0, 5, 9)]
    assert len(dataset._open) == 2
    assert len(os.listdir("/dev/fd")) == before


def test_a_dtype_is_a_floating_point_type_or_its_name(folder):
    assert vaezoo.LatentDataset(folder, dtype="bf16")[0]["latents"].dtype == torch.bfloat16
    with pytest.raises(InputError, match=r"dtype torch\.int64: expected a floating-point type"):
        vaezoo.LatentDataset(folder, dtype=torch.int64)


def test_normalized_modes_have_mean_0_and_standard_deviation_1(folder):
    dataset = LatentDataset(folder, sample=False)
    latents = torch.stack([sample["latents"] for sample in dataset])
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3), correction=0), torch.ones(4))
    own = LatentDataset(folder, sample=False, normalize=vaezoo.LatentStats(scale=0.5), dtype=torch.float16)
    torch.testing.assert_close(own[2]["latents"], (stored(2)[:4] * 0.5).half())


def test_a_sample_is_drawn_from_the_posterior(folder):
    dataset = LatentDataset(folder, normalize=False)
    draws = []
    for epoch in range(300):
        dataset.set_epoch(epoch)
        draws.append(dataset[3]["latents"])
    mean, logvar = stored(3).chunk(2)
    error = (torch.stack(draws).mean(dim=0) - mean) / torch.exp(0.5 * logvar) * 300**0.5
    assert error.abs().max() < 4.5
    torch.testing.assert_close(torch.stack(draws).std(dim=0), torch.exp(0.5 * logvar), rtol=0.25, atol=0)


def test_draws_depend_on_seed_epoch_and_index_only(folder):
    dataset = LatentDataset(folder, flip=True, seed=1)
    plain = all_of(dataset)
    others = [LatentDataset(folder, flip=True, seed=2), LatentDataset(folder, flip=True, seed=1)]
    others[1].set_epoch(1)
    for other in others:
        assert not torch.equal(other[4]["latents"], dataset[4]["latents"])
    again = pickle.loads(pickle.dumps(dataset))  # noqa: S301
    assert torch.equal(again[7]["latents"], plain["32x16/7.png"]["latents"])
    loader = DataLoader(dataset, batch_size=None, num_workers=2, shuffle=True)
    for key, sample in {s["key"]: s for s in loader}.items():
        assert torch.equal(sample["latents"], plain[key]["latents"])
        assert sample["flipped"] == plain[key]["flipped"]


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_that_are_kept_follow_the_epoch(folder, context):
    dataset = LatentDataset(folder, flip=True)
    loader = DataLoader(
        dataset, batch_size=COUNT, num_workers=1, persistent_workers=True, multiprocessing_context=context
    )
    for epoch in range(2):
        dataset.set_epoch(epoch)
        (batch,) = list(loader)
        assert torch.equal(batch["latents"], torch.stack([sample["latents"] for sample in dataset]))


def test_half_of_the_samples_are_mirrored_photos(folder):
    dataset = LatentDataset(folder, sample=False, flip=True, normalize=False)
    flipped = []
    for epoch in range(40):
        dataset.set_epoch(epoch)
        for index, sample in enumerate(dataset):
            flipped.append(sample["flipped"])
            mean = stored(index)[:4]
            assert torch.equal(sample["latents"], -mean if sample["flipped"] else mean)
    assert 150 < sum(flipped) < 250


def test_two_ranks_of_torchs_own_sampler_see_what_one_process_sees(folder):
    dataset = LatentDataset(folder, flip=True)
    seen = {}
    for rank in range(2):
        sampler = DistributedSampler(dataset, num_replicas=2, rank=rank)
        sampler.set_epoch(3)
        dataset.set_epoch(3)
        part = {s["key"]: s for s in DataLoader(dataset, batch_size=None, sampler=sampler, num_workers=1)}
        assert len(part) == COUNT // 2
        seen |= part
    assert len(seen) == COUNT
    for sample in dataset:
        assert torch.equal(seen[sample["key"]]["latents"], sample["latents"])


def test_deterministic_latents_numbers_as_labels_and_captions(tmp_path):
    write_latents(tmp_path / "out", {"32x16": 3}, kind="mean", flip=False, labels=(7, 5, -1), captions=True)
    dataset = LatentDataset(tmp_path / "out", normalize=False)
    assert torch.equal(dataset[2]["latents"], stored(2, "mean"))
    assert [sample["label"] for sample in dataset] == [7, 5, -1]
    assert dataset.classes == ()
    assert dataset[1]["caption"] == "photo 1"
    with pytest.raises(InputError, match=r"out: has no mirrored latents; encode with --flip"):
        LatentDataset(tmp_path / "out", flip=True)


def changed_manifest(folder):
    path = next((folder / SHARDS).glob("*.jsonl"))
    path.write_text(path.read_text().replace(".png", ".jpg"))


def another_shard(folder):
    for path in (manifest_path, tensors_path):
        path(folder, "00000-32x16").write_bytes(path(folder, "00001-32x16").read_bytes())


def another_photo(folder):
    with (folder / PLANNED_PHOTOS).open("a") as file:
        file.write("{}\n")


def another_format(folder):
    about = json.loads((folder / DATASET).read_text())
    (folder / DATASET).write_text(json.dumps({**about, "version": 2}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / PLAN).unlink(), r"out: not a folder of latents.*vaezoo encode writes one"),
        (lambda folder: (folder / DATASET).unlink(), r"out: not finished.*encode .* again.*partial=True"),
        (lambda folder: (folder / DATASET).write_text("{"), r"dataset\.json: damaged.*encode"),
        (another_photo, r"11 of 12 photos are in dataset\.json"),
        (lambda folder: next((folder / SHARDS).glob("*.safetensors")).unlink(), r"missing or damaged.*encode"),
        (changed_manifest, r"out: shard 0000\d-32x16 has changed since dataset\.json was written; encode .* again"),
        (another_shard, r"out: shard 00000-32x16 has changed since dataset\.json was written; encode .* again"),
        (
            lambda folder: (folder / DATASET).write_text((folder / PLAN).read_text()),
            r"dataset\.json: damaged \(Type.*encode",
        ),
        (another_format, r"version 2 of the format, and this vaezoo reads 1"),
    ],
)
def test_a_folder_that_is_not_whole_is_one_clear_error(tmp_path, damage, message):
    folder = write_latents(tmp_path / "out", {"32x16": COUNT})
    damage(folder)
    with pytest.raises(FileError, match=message) as raised:
        LatentDataset(folder)
    assert "\n" not in str(raised.value)


def test_a_shard_that_changes_while_the_data_set_is_open_is_noticed(tmp_path):
    folder = write_latents(tmp_path / "out", {"32x16": COUNT})
    dataset = LatentDataset(folder)
    another_shard(folder)
    with pytest.raises(FileError, match=r"00000-32x16 has changed"):
        dataset[0]
    assert dataset[5]["key"] == "32x16/5.png"
    for damage, message in ((lambda path: path.write_bytes(b""), "has changed"), (os.unlink, "cannot be read|no such")):
        damage(manifest_path(folder, "00002-32x16"))
        with pytest.raises(FileError, match=rf"00002-32x16.*({message})"):
            dataset[9]


def test_the_finished_part_of_a_folder_can_be_read(tmp_path):
    folder = write_latents(tmp_path / "out", {"32x16": COUNT})
    (folder / DATASET).unlink()
    tensors_path(folder, "00001-32x16").unlink()
    dataset = LatentDataset(folder, sample=False, partial=True)
    assert [sample["key"] for sample in dataset] == [f"32x16/{i}.png" for i in (0, 1, 2, 3, 8, 9)]
    latents = torch.stack([sample["latents"] for sample in dataset])
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-6, rtol=0)
    for path in (folder / SHARDS).glob("*.safetensors"):
        path.unlink()
    with pytest.raises(FileError, match=r"out: no finished shard in it yet"):
        LatentDataset(folder, partial=True)


def test_constant_latents_can_be_read_but_not_normalized(tmp_path):
    folder = write_latents(tmp_path / "out", {"32x16": 2}, dtype=torch.float32)
    about = json.loads((folder / DATASET).read_text())
    (folder / DATASET).write_text(json.dumps({**about, "latent_stats": None}))
    with pytest.raises(InputError, match=r"out: a channel is constant.*normalize=False"):
        LatentDataset(folder)
    assert LatentDataset(folder, normalize=False)[0]["latents"].shape == (4, 2, 4)
    (folder / DATASET).write_text(json.dumps({**about, "latent_stats": None, "shards": []}))
    with pytest.raises(InputError, match="out: has no latents; vaezoo encode lists photos that"):
        LatentDataset(folder)
