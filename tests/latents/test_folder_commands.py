"""Folders that `vaezoo encode` wrote, read as people read them: the data set, `--check`, `--peek`, `--export`."""

import json
import shutil

import pytest
import torch
from support.commands import run
from support.encoding import encode, noise, smallest, write_noise

import vaezoo
from vaezoo.cli import main
from vaezoo.data.photos import photos
from vaezoo.errors import CheckpointError, FileError
from vaezoo.io.images import to_tensor
from vaezoo.io.resize_and_pad import resize_and_crop
from vaezoo.io.sheets import GAP
from vaezoo.latents.check_latents import check_latents
from vaezoo.latents.peek import SIDE
from vaezoo.latents.shard_files import PLAN


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Seven photos, one of which is damaged."""
    folder = write_noise(tmp_path_factory.mktemp("data") / "photos", 7)
    (folder / "02.png").write_bytes(b"cut off")
    return folder


@pytest.fixture(scope="module")
def encoded(data):
    encode(data, data.parent / "latents", flip=True, dtype="fp32")
    return data.parent / "latents"


def test_the_data_set_has_what_the_model_encodes_and_its_vae_gives_the_photos_back(data, encoded):
    dataset = vaezoo.LatentDataset(encoded, sample=False)
    assert dataset.latent_stats.size == 16
    vae, created = smallest(), dataset.create_vae()
    samples = {sample["key"]: sample["latents"] for sample in dataset}
    assert len(samples) == 6
    for photo in photos(data):
        if photo.name in samples:
            raw = vae.encode(to_tensor(resize_and_crop(photo.read(), 16))).mode()
            again = created.denormalize(samples[photo.name][None])
            torch.testing.assert_close(again, raw, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(created.decode(again), vae.decode(raw), atol=1e-3, rtol=1e-3)


def test_other_weights_under_the_name_of_the_model_are_refused(encoded, tmp_path):
    shutil.copytree(encoded, tmp_path / "copy")
    for name in (PLAN, "dataset.json"):
        about = json.loads((tmp_path / "copy" / name).read_text())
        about["model"]["sha256"] = "f" * 64
        (tmp_path / "copy" / name).write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match=r"copy: encoded with weights ffffffffffff, but those of .* are now"):
        vaezoo.LatentDataset(tmp_path / "copy").create_vae()


def test_check_lists_faults_and_ends_with_status_2(data, tmp_path, capsys):
    encoded = tmp_path / "latents"
    encode(data, encoded)
    assert run(capsys, "encode", "--check", encoded) == f"{encoded}: no faults\n"
    assert json.loads(run(capsys, "encode", "--check", encoded, "--json"))["faults"] == []
    (encoded / "dataset.json").unlink()
    assert main(["encode", f"--check={encoded}"]) == 2
    out, err = capsys.readouterr()
    assert "dataset.json: cannot be read" in out
    assert err == f"vaezoo encode: {encoded}: 1 fault\n"


def test_a_folder_stays_whole_when_photos_come_and_go(tmp_path, capsys):
    data, encoded = write_noise(tmp_path / "photos", 6), tmp_path / "latents"
    encode(data, encoded)
    (data / "01.png").unlink()
    noise(9).save(data / "04.png")
    noise(7).save(data / "99.png")
    encode(data, encoded)
    assert run(capsys, "encode", "--check", encoded) == f"{encoded}: no faults\n"
    assert len(vaezoo.LatentDataset(encoded)) == 7


def test_export_says_what_it_wrote_and_what_it_needs(encoded, tmp_path, capsys):
    text = run(capsys, "encode", "--export", "lightningdit", "--from", encoded, "--out", tmp_path / "dit")
    assert text.startswith(f"{tmp_path / 'dit'}: 6 latents in 2 files, raw, one posterior sample (seed 0); label 0")
    words = ["encode", "--export", "kohya-sd", "--from", encoded, "--out", tmp_path / "npz", "--mode", "--json"]
    assert "latents are the posterior mode, raw" in json.loads(run(capsys, *words))["what"]
    assert (tmp_path / "npz" / "00_0024x0020_sd.npz").exists()
    assert main(["encode", "--export", "lightningdit", "--from", str(encoded)]) == 2
    assert "--export lightningdit needs --from FOLDER and --out FOLDER" in capsys.readouterr().err


def test_peek_draws_what_the_latents_decode_to(encoded, tmp_path, capsys):
    run(capsys, "encode", "--peek", encoded, "--out", tmp_path / "peek.png", "--count", 5)
    sheet = vaezoo.load_image(tmp_path / "peek.png")
    assert sheet.shape[3] == 4 * SIDE + 3 * GAP
    dataset = vaezoo.LatentDataset(encoded, sample=False)
    vae = dataset.create_vae()
    decoded = vae.decode(vae.denormalize(dataset[0]["latents"][None])).clamp(-1, 1)
    shown = torch.nn.functional.interpolate(decoded, (SIDE, SIDE))
    assert (sheet[..., :SIDE, :SIDE] - shown).abs().max() <= 2 / 255
    assert main(["encode", "--peek", str(encoded), "--count", "0"]) == 2


def test_encoding_again_is_the_remedy_for_a_folder_that_is_refused(data, encoded, tmp_path):
    folder = tmp_path / "latents"
    shutil.copytree(encoded, folder)
    first, second = (folder / "shards" / f"0000{number}-16x16.safetensors" for number in (0, 1))
    damages = [
        first.unlink,
        (folder / "dataset.json").unlink,
        lambda: first.write_bytes(second.read_bytes()),
        lambda: second.write_bytes(second.read_bytes()[:-8]),
        first.with_suffix(".jsonl").unlink,
    ]
    for damage in damages:
        damage()
        with pytest.raises(FileError, match="encode the data set into the same folder again"):
            vaezoo.LatentDataset(folder)
        encode(data, folder, flip=True, dtype="fp32")
        assert len(vaezoo.LatentDataset(folder)) == 6
    assert list(check_latents(folder)) == []
