"""`create` and `get_spec`: arguments that do not go together are errors, not ignored."""

import pytest
import torch
from support.config_folder import write_network

import vaezoo
from vaezoo.errors import CheckpointError, FileError, InputError, UnknownNameError
from vaezoo.specs import catalog


@pytest.fixture
def file(tmp_path):
    vaezoo.export_checkpoint(vaezoo.create("vae_f8_z4_micro"), tmp_path / "micro.safetensors")
    return f"file:{tmp_path / 'micro.safetensors'}"


def test_a_dtype_may_be_text():
    assert vaezoo.create("vae_f8_z4_micro", dtype="bf16").dtype == torch.bfloat16
    with pytest.raises(InputError, match="unknown dtype 'half'; known: fp32, bf16, fp16"):
        vaezoo.create("vae_f8_z4_micro", dtype="half")


def test_a_revision_is_for_the_hub_alone(file):
    for name in (file, "vae_f8_z4", vaezoo.get_spec("vae_f8_z4")):
        with pytest.raises(InputError, match="revision='v1' is for hf-hub: names"):
            vaezoo.create(name, revision="v1")


def test_network_tag_and_layout_are_for_files_alone():
    with pytest.raises(InputError, match="network=, tag=, layout= is for file: names"):
        vaezoo.create("vae_f8_z4", network="vae_f8_z4", tag="photos_v1", layout="native")


def test_switches_that_exclude_each_other_are_refused_for_every_name(file):
    with pytest.raises(InputError, match="exclude each other"):
        vaezoo.create(file, local_files_only=True, force_download=True)


def test_the_network_of_a_file_is_asked_of_the_hub_that_create_names(file, hub, saved):
    with pytest.raises(vaezoo.HubError) as caught:
        vaezoo.create(file, network="hf-hub:alice/nothing", endpoint=hub.endpoint)
    assert hub.endpoint in str(caught.value)


def test_a_file_may_be_named_by_its_weights_on_record(tmp_path):
    vaezoo.export_checkpoint(vaezoo.create("vae_f8_z4_micro", pretrained=True), tmp_path / "a.safetensors")
    name = f"file:{tmp_path / 'a.safetensors'}"
    assert vaezoo.create(name).latent_stats is None
    assert vaezoo.create(name, tag="vae_f8_z4_micro.photos_v1").latent_stats is not None
    assert vaezoo.create(name, network="vae_f8_z4_micro", tag="photos_v1").latent_stats is not None
    assert vaezoo.create(name, network="vae_f8_z4_micro.photos_v1").latent_stats is not None
    with pytest.raises(FileError, match="a folder; write local-dir:"):
        vaezoo.create(f"file:{tmp_path}")
    with pytest.raises(UnknownNameError, match="photos_v1"):
        vaezoo.create(name, tag="photos_v1")


def test_a_network_and_a_tag_that_name_different_weights_are_refused(file):
    for network, tag in [
        ("ldm_f8_z4.sd15", "sdxl"),
        ("ldm_f8_z4.sd15", "ldm_f8_z4.sdxl"),
        ("sd15_vae", "sdxl"),
        ("vae_f8_z4", "taesd_f8_z4.taesd"),
    ]:
        with pytest.raises(InputError, match=rf"network='{network}', but tag='{tag}' is \w+\.\w+; give one of them"):
            vaezoo.create(file, network=network, tag=tag)


def test_what_is_no_file_of_weights_is_refused_before_it_is_hashed(tmp_path, monkeypatch):
    monkeypatch.setattr("vaezoo.zoo.find_file.sha256_of", lambda path: pytest.fail(f"{path} is hashed"))
    (tmp_path / "a.ckpt").write_bytes(b"PK\x03\x04" + bytes(1000))
    with pytest.raises(CheckpointError, match="a pickle"):
        vaezoo.create(f"file:{tmp_path / 'a.ckpt'}", network="vae_f8_z4_micro")


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", "cpu:"])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(InputError, match=f"device {device}"):
        vaezoo.create("vae_f8_z4_micro", device=device)


def test_a_type_that_weights_cannot_have_is_refused():
    with pytest.raises(InputError, match=r"torch\.int32"):
        vaezoo.create("vae_f8_z4_micro", dtype=torch.int32)


def test_a_spec_is_as_good_as_its_name_and_can_be_a_key():
    spec = vaezoo.get_spec("vae_f8_z4_micro")
    assert vaezoo.create(spec).spec == spec
    assert {spec: 1}[vaezoo.get_spec("vae-f8-z4-micro")] == 1


def test_describe_gives_a_network_of_another_kind_no_weights_of_its_namesake(tmp_path):
    file = tmp_path / "vae_f8_z4.yaml"
    file.write_text(vaezoo.specs.catalog.model_file("vae_f8_z4_micro").read_text(encoding="utf-8"), encoding="utf-8")
    assert vaezoo.describe(str(file)).weights == ()
    assert [tagged.tag for tagged in vaezoo.describe("vae_f8_z4").weights] == ["photos_v1"]


def test_a_path_with_a_nul_is_our_error():
    for read in (vaezoo.load_image, vaezoo.recognize, vaezoo.get_spec):
        with pytest.raises(vaezoo.FileError, match=r"cannot be read|no such file"):
            read("a\0b.yaml")


@pytest.mark.parametrize(("key", "true", "false"), [("params", "433_767", "433_768"), ("downscale", "8}", "16}")])
def test_a_false_statement_in_a_users_network_is_located(tmp_path, monkeypatch, key, true, false):
    path, text = tmp_path / "mine.yaml", catalog.model_file("vae_f8_z4_micro").read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    assert vaezoo.get_spec(path).expect is not None
    path.write_text(text.replace(true, false), encoding="utf-8")
    line = text[: text.index("expect:")].count("\n") + 1
    monkeypatch.setattr(catalog, "_added", [])
    (mine,) = write_network(tmp_path / "configs").glob("models/*")
    path.replace(mine)
    vaezoo.add_config_dir(tmp_path / "configs")
    for name in (mine, "mine_f8_z4"):
        with pytest.raises(
            vaezoo.SpecError, match=rf"mine-f8_z4\.yaml:{line}:\d+: expect\.{key}: is .*, but the network has"
        ):
            vaezoo.create(name)


def test_from_pretrained_takes_folders_and_repositories_without_a_prefix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.setattr(vaezoo, "create", lambda name, **arguments: (name, arguments))
    load, loaded = vaezoo.VAE.from_pretrained, {"pretrained": True}
    assert load("vae_f8_z4", dtype="bf16") == ("vae_f8_z4", loaded | {"dtype": "bf16"})
    assert load("org/name", subfolder="vae") == ("hf-hub:org/name#vae", loaded)
    assert load("a/b") == ("local-dir:a/b", loaded)
    assert load("hf-hub:org/name@main") == ("hf-hub:org/name@main", loaded)
