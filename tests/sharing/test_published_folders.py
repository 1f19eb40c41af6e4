"""Published folders on disk: what `save` writes, `create("local-dir:…")` reads, and nothing else."""

import json
import os

import pytest
import torch
from huggingface_hub import ModelCard
from support.disk import full_disk
from support.tiny_pipeline import LDM, small

import vaezoo
from vaezoo.sharing import save as saving
from vaezoo.weights.config_json import config_text, read_network


@pytest.fixture
def vae():
    vae = vaezoo.create("vae_f8_z4_micro")
    vae.latent_stats = vaezoo.LatentStats(mean=(0.1, -0.2, 0.3, 0.4), std=(1.0, 2.0, 3.0, 0.1))
    return vae


def load(folder, **options):
    return vaezoo.create(f"local-dir:{folder}", pretrained=True, **options)


def assert_same(a, b):
    assert a.spec == b.spec
    assert a.latent_stats == b.latent_stats
    for (key, x), (other, y) in zip(a.state_dict().items(), b.state_dict().items(), strict=True):
        assert (key, x.dtype) == (other, y.dtype)
        assert torch.equal(x, y), key


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_what_is_saved_comes_back_bit_equal(vae, tmp_path, dtype):
    folder = vaezoo.save(vae.to(dtype), tmp_path / "new" / "folder", license="mit")
    assert folder == tmp_path / "new" / "folder"
    assert sorted(os.listdir(folder)) == ["README.md", "config.json", "model.safetensors"]
    assert_same(vae, load(folder, dtype=None))
    assert ModelCard.load(folder / "README.md").data.license == "mit"


def test_saving_twice_writes_equal_files(vae, tmp_path):
    for name in ("a", "b"):
        vaezoo.save(vae, tmp_path / name)
    for name in ("README.md", "config.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_model_in_training_is_saved_and_left_as_it_is(vae, tmp_path):
    vae.train()
    vaezoo.save(vae, tmp_path)
    assert vae.training
    assert not load(tmp_path).training
    assert all(p.requires_grad for p in vae.parameters())


@pytest.mark.parametrize("name", vaezoo.list_models())
def test_the_config_of_every_network_reads_back(name, tmp_path):
    spec = vaezoo.get_spec(name)
    path = tmp_path / "config.json"
    path.write_text(config_text(spec, None, "0" * 64), encoding="utf-8")
    published = read_network(path)
    assert (published.spec, published.spec.hash, published.spec.name) == (spec, spec.hash, name)
    assert published.spec.summary == spec.summary
    assert published.config.vaezoo_version == vaezoo.__version__


def test_without_pretrained_only_the_network_is_read(vae, tmp_path):
    vaezoo.save(vae, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert vaezoo.create(f"local-dir:{tmp_path}").spec == vae.spec
    assert vaezoo.get_spec(f"local-dir:{tmp_path}") == vae.spec
    with pytest.raises(vaezoo.FileError, match=r"no model\.safetensors in it"):
        load(tmp_path)


def test_a_saved_model_can_be_changed_by_overrides(vae, tmp_path):
    vaezoo.save(vae, tmp_path)
    changed = vaezoo.create(f"local-dir:{tmp_path}", overrides={"latent.channels": 8})
    assert changed.latent_channels == 8


def test_saving_over_a_folder_replaces_its_three_files_only(vae, tmp_path):
    vaezoo.save(vae, tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    other = vaezoo.create("vae_f8_z4_micro", overrides={"latent.channels": 6})
    vaezoo.save(other, tmp_path)
    assert_same(other, load(tmp_path))
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len(os.listdir(tmp_path)) == 4


@pytest.mark.parametrize("broken", ["export_checkpoint", "write_text", "config_text"])
def test_a_save_interrupted_while_it_writes_leaves_the_folder_as_it_was(vae, tmp_path, monkeypatch, broken):
    vaezoo.save(vae, tmp_path)

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(saving, broken, interrupted)
    with pytest.raises(KeyboardInterrupt):
        vaezoo.save(vaezoo.create("vae_f8_z4_micro"), tmp_path)
    assert_same(vae, load(tmp_path))
    assert len(os.listdir(tmp_path)) == 3


@pytest.mark.parametrize("name", ["model.safetensors", "vae/diffusion_pytorch_model.safetensors"])
def test_a_full_disk_leaves_the_folder_as_it_was_and_names_the_file_that_has_no_space(tmp_path, name):
    vae = small(tmp_path, LDM, scale=0.5)
    vaezoo.save(vae, tmp_path / "model")
    with full_disk(1000), pytest.raises(vaezoo.FileError) as raised:
        vaezoo.save(vae, tmp_path / "model", with_diffusers=name.startswith("vae/"))
    assert str(raised.value).startswith(f"{tmp_path / 'model' / name}: cannot be written (")
    assert_same(vae, load(tmp_path / "model"))
    assert len(os.listdir(tmp_path / "model")) == 3


@pytest.mark.parametrize("last", ["config.json", "model.safetensors"])
def test_a_save_interrupted_between_its_files_loads_as_one_model(vae, tmp_path, monkeypatch, last):
    vaezoo.save(vae, tmp_path)
    other = vaezoo.create("vae_f8_z4_micro")  # of the same shapes, so that only the hash tells
    real = os.replace

    def interrupted(source, target):
        real(source, target)
        if target == tmp_path / last:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        vaezoo.save(other, tmp_path)
    monkeypatch.undo()
    assert_same(other, load(tmp_path))
    vaezoo.save(vae, tmp_path)
    assert_same(vae, load(tmp_path))
    assert len(os.listdir(tmp_path)) == 3


def test_two_saves_at_once_never_load_as_a_mixture(vae, tmp_path, monkeypatch):
    other, real = vaezoo.create("vae_f8_z4_micro"), saving.sha256_of

    def hash_after_another_save(path):
        monkeypatch.setattr(saving, "sha256_of", real)
        vaezoo.save(other, tmp_path)
        return real(path)

    monkeypatch.setattr(saving, "sha256_of", hash_after_another_save)
    vaezoo.save(vae, tmp_path)
    assert_same(vae, load(tmp_path))


def test_a_model_that_is_no_longer_its_spec_is_not_saved(vae, tmp_path):
    compiled = vaezoo.create("vae_f8_z4_micro")
    compiled.encoder = torch.compile(compiled.encoder, backend="eager")
    changed = vaezoo.create("vae_f8_z4_micro")
    changed.extra = torch.nn.Linear(2, 2)
    tied = vaezoo.create("vae_f8_z4_micro")
    tied.decoder[2].layers[0].conv2.weight = tied.decoder[2].layers[0].conv1.weight
    for model, word in ((compiled, "_orig_mod"), (changed, "extra.weight"), (tied, "share memory")):
        with pytest.raises(vaezoo.CheckpointError, match=word):
            vaezoo.save(model, tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_leave_the_folder_as_it_was(vae, tmp_path, value):
    vaezoo.save(vae, tmp_path)
    bad = vaezoo.create("vae_f8_z4_micro")
    with torch.no_grad():
        bad.encoder[0].bias[0] = value
    with pytest.raises(vaezoo.CheckpointError, match=r"NaN or infinite weights in encoder\.0\.bias: not saved"):
        vaezoo.save(bad, tmp_path)
    assert_same(vae, load(tmp_path))


def test_many_bad_weights_are_counted(vae, tmp_path):
    for parameter in vae.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(vaezoo.CheckpointError, match=r" and \d+ more: not saved"):
        vaezoo.save(vae, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_model_without_weights_is_not_saved(tmp_path):
    with torch.device("meta"):
        vae = vaezoo.create("vae_f8_z4_micro")
    with pytest.raises(vaezoo.CheckpointError, match="on the meta device"):
        vaezoo.save(vae, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_says_so(vae, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(vaezoo.FileError, match="file"):
        vaezoo.save(vae, tmp_path / "file")
    with pytest.raises(vaezoo.FileError, match="file"):
        vaezoo.save(vae, tmp_path / "file" / "below")


def test_a_place_that_is_no_folder_says_what_it_is(tmp_path):
    with pytest.raises(vaezoo.FileError, match="no such folder"):
        load(tmp_path / "none")
    with pytest.raises(vaezoo.FileError, match="no such folder"):
        load("x" * 5000)
    with pytest.raises(vaezoo.FileError, match="no such folder"):
        load("a\0b")
    with pytest.raises(vaezoo.FileError, match=r"no config\.json in it, only nothing; vaezoo\.save writes"):
        load(tmp_path)
    (tmp_path / "weights.safetensors").touch()
    with pytest.raises(vaezoo.FileError, match=r"only weights\.safetensors"):
        load(tmp_path)
    with pytest.raises(vaezoo.FileError, match=r"a file; write file:.*weights\.safetensors"):
        load(tmp_path / "weights.safetensors")


def test_a_folder_with_a_pickle_only_is_refused(vae, tmp_path):
    vaezoo.save(vae, tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(vaezoo.FileError, match=r"pytorch_model\.bin is a pickle, which vaezoo does not open"):
        load(tmp_path)


def test_weights_that_were_exchanged_are_noticed(vae, tmp_path):
    vaezoo.save(vae, tmp_path)
    vaezoo.export_checkpoint(vaezoo.create("vae_f8_z4_micro"), tmp_path / "model.safetensors")
    with pytest.raises(vaezoo.CheckpointError, match=r"sha256 is .*, on record is"):
        load(tmp_path)


@pytest.mark.parametrize("damage", [lambda data: data[:-4], lambda data: data[:100], lambda data: data[:-1] + b"!"])
def test_damaged_weights_are_named_as_such_whatever_reading_them_meanwhile_says(vae, tmp_path, damage):
    file = vaezoo.save(vae, tmp_path / "vae") / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(vaezoo.CheckpointError, match=r"damaged or exchanged: .*; config.json was saved with other"):
        load(file.parent)


def test_the_config_holds_what_the_design_says(vae, tmp_path):
    data = json.loads((vaezoo.save(vae, tmp_path) / "config.json").read_text(encoding="utf-8"))
    assert (data["library_name"], data["format"]) == ("vaezoo", 1)
    assert data["spec_hash"] == vae.spec.hash
    assert data["latent_stats"] == {"mean": [0.1, -0.2, 0.3, 0.4], "std": [1.0, 2.0, 3.0, 0.1]}
    assert "shared" not in data["spec"]
    assert str(tmp_path) not in json.dumps(data)
