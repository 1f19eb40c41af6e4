"""Files from a Hub that are not what they should be, and weights records that name files on a Hub."""

import hashlib
import json
import re

import pytest
from huggingface_hub import constants
from support.config_folder import write_network

import vaezoo
from vaezoo.specs import catalog

NAME = "hf-hub:alice/vae"


def edited(saved, **changes):
    data = json.loads(saved["config.json"]) | changes
    return json.dumps({key: value for key, value in data.items() if value is not ...}).encode()


CONFIGS = {
    "unknown key": ({"extra": 1, "nettwork": "x"}, "unknown key 'extra'", "did you mean 'network'?"),
    "missing key": ({"weights": ..., "spec": ...}, "missing spec and weights for PublishedConfig"),
    "newer format": ({"format": 2, "vaezoo_version": "9.1"}, "newer vaezoo (9.1, format 2", "pip install --upgrade"),
    "no format": ({"format": 0}, "format: expected 1 to 1, got 0"),
    "edited hash": ({"spec_hash": "0" * 64}, "spec_hash is 000000000000", "the file was edited"),
    "hostile weights": (
        {"weights": {"file": "../../x", "sha256": ""}},
        "weights.file: expected 'model.safetensors', got '../../x'",
    ),
    "pickled weights": (
        {"weights": {"file": "pytorch_model.bin", "sha256": ""}},
        "'model.safetensors', got 'pytorch_model.bin'",
    ),
    "short stats": ({"latent_stats": {"mean": [0.0], "std": [1.0]}}, "1 values for 4 latent channels"),
    "zero std": ({"latent_stats": {"mean": [0.0] * 4, "std": [0.0] * 4}}, "latent_stats.std[0]: expected"),
    "another class": (
        {"library_name": ..., "_class_name": "UNet2DModel"},
        "is 'UNet2DModel', not one",
    ),
    "no class": ({"library_name": ...}, "not written by vaezoo", "classes of diffusers: AutoencoderKL, "),
    "transformers": ({"library_name": "transformers"}, "not written by vaezoo"),
    "huge": ({"network": "x" * 300_000}, "larger than 262,144 bytes"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config_that_is_not_right_says_why(hub, saved, case):
    changes, *parts = CONFIGS[case]
    hub.commit("alice/vae", {**saved, "config.json": edited(saved, **changes)})
    with pytest.raises((vaezoo.SpecError, vaezoo.FileError)) as caught:
        vaezoo.create(NAME, pretrained=True)
    for part in ["config.json", *parts]:
        assert part in str(caught.value)
    assert not any("model.safetensors" in r.path for r in hub.requests)


def test_an_edited_network_is_noticed(hub, saved):
    content = saved["config.json"].replace(b'"kernel": 3', b'"kernel": 5', 1)
    hub.commit("alice/vae", {**saved, "config.json": content})
    with pytest.raises(vaezoo.SpecError, match="the spec beside it hashes to"):
        vaezoo.create(NAME, pretrained=True)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 99_999, b'{"a": 1, "a": 2}', b"1e999"]
)
def test_a_config_that_is_junk_is_a_spec_error(hub, saved, content):
    hub.commit("alice/vae", {**saved, "config.json": content})
    with pytest.raises(vaezoo.SpecError, match=r"config\.json"):
        vaezoo.create(NAME, pretrained=True)


@pytest.mark.parametrize("content", [b"", b"\x80\x02junk", b"PK\x03\x04", b"\xff" * 99, b'{"a":', None])
def test_weights_that_are_junk_are_a_checkpoint_error_even_with_the_right_hash(hub, saved, content):
    content = saved["model.safetensors"][:5000] if content is None else content
    sha256 = hashlib.sha256(content).hexdigest()
    config = edited(saved, weights={"file": "model.safetensors", "sha256": sha256})
    hub.commit("alice/vae", {**saved, "config.json": config, "model.safetensors": content})
    with pytest.raises(vaezoo.CheckpointError, match=r"model\.safetensors"):
        vaezoo.create(NAME, pretrained=True)


def test_weights_of_another_network_are_a_checkpoint_error(hub, saved, tmp_path):
    vaezoo.save(vaezoo.create("vae_f8_z4_micro", overrides={"latent.channels": 6}), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["weights"]["sha256"] = hashlib.sha256(saved["model.safetensors"]).hexdigest()
    hub.commit("alice/vae", {**saved, "config.json": json.dumps(config).encode()})
    with pytest.raises(vaezoo.CheckpointError, match="0 missing, 0 unexpected, 7 of another shape"):
        vaezoo.create(NAME, pretrained=True)


@pytest.fixture
def record(hub, saved, tmp_path, monkeypatch):
    """Add a network `mine_f8_z4` with a tag `mine`, whose weights are alice's; gives a function to change it."""
    monkeypatch.setattr(catalog, "_added", [])
    commit = hub.commit("alice/weights", {"deep/micro.safetensors": saved["model.safetensors"]})
    source = {"hub": "alice/weights", "file": "deep/micro.safetensors", "revision": commit}
    entry = {"source": source, "layout": "native", "license": "mit", "latent_stats": {"scale": 0.5}}
    entry["sha256"] = hashlib.sha256(saved["model.safetensors"]).hexdigest()
    path = write_network(tmp_path / "zoo") / "weights" / "mine_f8_z4.yaml"

    def write(source=source, **changes):
        text = {"default": "mine", "mine": entry | {"source": source} | changes}
        path.write_text(json.dumps(text))  # JSON is YAML
        return source

    write()
    vaezoo.add_config_dir(tmp_path / "zoo")
    return write


def test_a_record_names_a_file_on_a_hub(hub, record, saved, tmp_path):
    vae = vaezoo.create("mine_f8_z4", pretrained=True)
    assert vae.latent_stats == vaezoo.LatentStats(scale=0.5)
    vaezoo.export_checkpoint(vae, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == saved["model.safetensors"]
    assert "mine_f8_z4.mine" in vaezoo.list_pretrained()
    hub.requests.clear()
    vaezoo.create("mine-f8-z4.mine", pretrained=True)
    assert hub.requests == []  # pinned and cached


def test_a_record_without_a_commit_follows_main(hub, record, saved):
    record(source={"hub": "alice/weights", "file": "deep/micro.safetensors"}, verified=False)
    vaezoo.create("mine_f8_z4", pretrained=True)
    hub.commit("alice/weights", {"deep/micro.safetensors": b"else"})
    with pytest.raises(vaezoo.HubError, match=r"alice/weights: .* damaged or exchanged") as caught:
        vaezoo.create("mine_f8_z4", pretrained=True)
    assert caught.value.kind == "hash"


def test_a_record_of_other_content_is_refused(hub, record):
    record(sha256="0" * 64)
    with pytest.raises(vaezoo.HubError, match=f"on record is {'0' * 64}") as caught:
        vaezoo.create("mine_f8_z4", pretrained=True)
    assert caught.value.kind == "hash"


def test_a_record_offline_says_how_to_cache_it(hub, record, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(vaezoo.HubError, match=r"alice/weights/deep/micro\.safetensors is not in the cache") as caught:
        vaezoo.create("mine_f8_z4", pretrained=True)
    assert caught.value.kind == "offline"
    assert "hf-hub:" not in str(caught.value)  # that repository is no published folder


@pytest.mark.parametrize("file", ["../../x.safetensors", "/etc/passwd", "a/../../b"])
def test_a_record_with_a_hostile_file_name_is_refused(hub, record, file, tmp_path):
    record(source={"hub": "alice/weights", "file": file}, verified=False)
    with pytest.raises(vaezoo.HubError, match=re.escape(file)) as caught:
        vaezoo.create("mine_f8_z4", pretrained=True)
    assert caught.value.kind == "refused"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub", "zoo"]


def test_a_record_of_a_pickle_is_refused(hub, record):
    commit = hub.commit("alice/weights", {"micro.ckpt": b"PK\x03\x04" + b"0" * 100})
    sha256 = hashlib.sha256(b"PK\x03\x04" + b"0" * 100).hexdigest()
    record(source={"hub": "alice/weights", "file": "micro.ckpt", "revision": commit}, sha256=sha256)
    with pytest.raises(vaezoo.CheckpointError, match="a pickle, which can run code"):
        vaezoo.create("mine_f8_z4", pretrained=True)


def test_a_record_of_a_missing_file_lists_what_is_there(hub, record):
    record(source={"hub": "alice/weights", "file": "micro.safetensors"}, verified=False)
    with pytest.raises(vaezoo.HubError, match=r"has no micro\.safetensors at .*deep/micro\.safetensors") as caught:
        vaezoo.create("mine_f8_z4", pretrained=True)
    assert caught.value.kind == "file"
