"""Weights in several files, as diffusers' own `save_pretrained(max_shard_size=…)` writes them with an index."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.commands import run
from support.diffusers_small import files_of, small_model
from support.small import same_weights

import vaezoo
from vaezoo.nn.blocks import BLOCKS
from vaezoo.specs.render import to_yaml

STEM = "diffusion_pytorch_model"
INDEX = f"{STEM}.safetensors.index.json"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A folder that diffusers wrote: `whole` in one file, `vae` in several, and `network.yaml`."""
    folder = tmp_path_factory.mktemp("written")
    model = small_model("AutoencoderKL")
    model.save_pretrained(folder / "whole")
    model.save_pretrained(folder / "vae", max_shard_size="20KB")
    model.half().save_pretrained(folder / "vae", max_shard_size="10KB", variant="fp16")
    spec = vaezoo.get_spec(f"local-dir:{folder / 'whole'}")
    (folder / "network.yaml").write_text(to_yaml(spec, BLOCKS), encoding="utf-8")
    assert len(shards(folder / "vae")) > 2
    assert not (folder / "vae" / f"{STEM}.safetensors").exists()
    return folder


@pytest.fixture
def vae(written, tmp_path) -> Path:
    """A copy of the folder `vae`, which a test may damage."""
    return Path(shutil.copytree(written / "vae", tmp_path / "vae"))


def shards(folder: Path) -> list[str]:
    return sorted(set(json.loads((folder / INDEX).read_text())["weight_map"].values()))


def assert_equal(a: vaezoo.VAE, b: vaezoo.VAE) -> None:
    assert a.spec.hash == b.spec.hash
    assert same_weights(b, a)


def test_a_folder_and_its_index_load_as_one_file_does(written):
    whole, network = vaezoo.create(f"local-dir:{written}#whole", pretrained=True), str(written / "network.yaml")
    folder = vaezoo.create(f"local-dir:{written}#vae", pretrained=True)
    index = vaezoo.create(f"file:{written / 'vae' / INDEX}", network=network)
    loaded = vaezoo.load_checkpoint(vaezoo.create(network), written / "vae" / INDEX)
    for vae in (folder, index, loaded):
        assert_equal(vae, whole)
        assert sorted(file.name for file in vae.source.files) == shards(written / "vae")
        assert len(vae.source.sha256.split()) == len(vae.source.files)
    half = vaezoo.create(f"local-dir:{written}#vae", pretrained=True, variant="fp16", dtype=None)
    assert half.dtype == torch.float16
    assert_equal(half, whole.half())


def test_half_precision_is_opened_where_there_is_nothing_else(vae):
    for file in (INDEX, *shards(vae)):
        (vae / file).unlink()
    assert vaezoo.create(f"local-dir:{vae}", pretrained=True, dtype=None).dtype == torch.float16


def test_convert_writes_one_file_of_several(written, tmp_path, capsys):
    network = written / "network.yaml"
    run(capsys, "convert", written / "vae" / INDEX, tmp_path / "one.safetensors", "--network", network)
    run(capsys, "convert", f"local-dir:{written}#vae", tmp_path / "two.safetensors")
    whole = vaezoo.create(f"local-dir:{written}#whole", pretrained=True)
    for name in ("one", "two"):
        assert_equal(vaezoo.create(f"file:{tmp_path / name}.safetensors", network=str(network)), whole)
    assert run(capsys, "diff", f"local-dir:{written}#vae", f"local-dir:{written}#whole").startswith(
        "one network; 0 of "
    )


def test_a_repository_is_downloaded_pinned_and_loaded_offline(written, hub, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    hub.commit("alice/pipe", files_of(written / "vae", "vae/"))
    (found,) = json.loads(run(capsys, "download", "hf-hub:alice/pipe#vae", "--json"))
    names = {f"vae/{name}" for name in ("config.json", INDEX, *shards(written / "vae"))}
    assert {file["file"] for file in found["pinned"]["files"]} == names
    assert found["bytes"] == sum((written / "vae" / name).stat().st_size for name in shards(written / "vae"))
    again = vaezoo.create("hf-hub:alice/pipe#vae", pretrained=True, local_files_only=True)
    assert_equal(again, vaezoo.create(f"local-dir:{written}#whole", pretrained=True))
    (locked,) = tmp_path.glob("*.lock")
    text = locked.read_text()
    locked.write_text(text.replace(found["pinned"]["files"][-1]["sha256"], "0" * 64))
    with pytest.raises(vaezoo.HubError, match="sha256"):
        vaezoo.create("hf-hub:alice/pipe#vae", pretrained=True, local_files_only=True)


def edit(vae: Path, change) -> None:
    data = json.loads((vae / INDEX).read_text())
    change(data["weight_map"])
    (vae / INDEX).write_text(json.dumps(data))


def move(vae: Path, keep: bool) -> None:
    """Write a tensor of the first file into the second one."""
    first, second = (vae / name for name in shards(vae)[:2])
    one, two = load_file(first), load_file(second)
    name = sorted(one)[0]
    two[name] = one[name]
    if not keep:
        del one[name]
        save_file(one, first)
    save_file(two, second)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda vae: (vae / shards(vae)[1]).unlink(), "lists .*-00002-of-.* which is not beside it; download"),
        (lambda vae: edit(vae, lambda m: m.update({"x": "../x.safetensors"})), r"names \.\./x.*, which is no file"),
        (lambda vae: edit(vae, lambda m: m.update({"x": "/etc/x.safetensors"})), "names /etc/.*, which is no file"),
        (lambda vae: edit(vae, lambda m: m.update({"x": ".."})), r"names \.\., which is no file in its folder"),
        (lambda vae: edit(vae, lambda m: m.update({"x": INDEX})), "not a whole safetensors file"),
        (lambda vae: edit(vae, lambda m: m.update({"x": shards(vae)[0]})), "the tensor x is not in .*-00001-of-"),
        (lambda vae: edit(vae, lambda m: m.pop(next(iter(m)))), "has the tensor .*, but the index does not list it"),
        (lambda vae: move(vae, keep=False), "-00002-of-.* has the tensor .*, but the index lists it in .*-00001-of-"),
        (lambda vae: move(vae, keep=True), "-00002-of-.* has the tensor .*, but the index lists it in .*-00001-of-"),
        (lambda vae: (vae / INDEX).write_text('{"weight_map": {"a": "b.x", "a": "b.x"}}'), "a name is in it twice"),
        (lambda vae: (vae / INDEX).write_text("[1]"), "not an index of weights, which lists tensors and files"),
        (lambda vae: (vae / INDEX).write_text("[" * 100_000), "not a valid index of weights"),
        (lambda vae: (vae / INDEX).write_text("<html>"), "a web page in the place of the weights"),
        (lambda vae: (vae / shards(vae)[0]).write_bytes(b"PK\x03\x04"), "-00001-of-.*: a pickle"),
    ],
)  # fmt: skip
def test_a_damaged_index_or_file_is_one_clear_error(vae, written, damage, message):
    damage(vae)
    with pytest.raises((vaezoo.CheckpointError, vaezoo.FileError), match=message):
        vaezoo.create(f"file:{vae / INDEX}", network=str(written / "network.yaml"))
    with pytest.raises((vaezoo.CheckpointError, vaezoo.FileError)):
        vaezoo.create(f"local-dir:{vae}", pretrained=True)


def test_a_missing_file_of_a_repository_is_named(written, hub):
    files = files_of(written / "vae", "vae/")
    missing = next(name for name in files if "-00002-of-" in name and "fp16" not in name)
    del files[missing]
    hub.commit("alice/pipe", files)
    with pytest.raises(vaezoo.HubError, match=f"alice/pipe has no {missing}") as caught:
        vaezoo.create("hf-hub:alice/pipe#vae", pretrained=True)
    assert caught.value.kind == "file"


def test_one_file_of_several_hints_at_the_index(vae, written):
    part = vae / shards(vae)[0]
    with pytest.raises(vaezoo.CheckpointError, match=rf"one of several files: name their index, {INDEX}"):
        vaezoo.create(f"file:{part}", network=str(written / "network.yaml"))
    with pytest.raises(vaezoo.CheckpointError, match="name their index"):
        vaezoo.create(f"file:{part}")
