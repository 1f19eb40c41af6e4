"""Where folders lie: what is missing or of another kind is one clear error, and subfolders, variants and the lock."""

import json
import os

import pytest
import torch
from support.diffusers_small import PLAIN, files_of, small_model
from support.small import same_weights

import vaezoo
from vaezoo.cli import main

HALF = "diffusion_pytorch_model.fp16.safetensors"


def test_weights_of_another_network_are_refused_by_name_and_shape(tmp_path):
    small_model("AutoencoderKL", 0).save_pretrained(tmp_path)
    config = (tmp_path / "config.json").read_bytes()
    small_model("AutoencoderKL", 1).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes(config)
    with pytest.raises(vaezoo.CheckpointError, match=r"does not fit .* \(layout diffusers\)"):
        vaezoo.create(f"local-dir:{tmp_path}", pretrained=True)


def test_a_whole_pipeline_names_the_subfolder_of_its_vae(tmp_path, hub):
    small_model("AutoencoderKL").save_pretrained(tmp_path / "vae")
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(vaezoo.FileError, match=r"a whole pipeline .*; its VAE is local-dir:.*#vae$"):
        vaezoo.create(f"local-dir:{tmp_path}", pretrained=True)
    hub.commit("alice/pipe", {"model_index.json": b"{}", **files_of(tmp_path / "vae", "vae/")})
    with pytest.raises(vaezoo.HubError, match=r"its VAE is hf-hub:alice/pipe@main#vae$") as caught:
        vaezoo.get_spec("hf-hub:alice/pipe@main")
    assert caught.value.kind == "file"
    (tmp_path / "vae" / "config.json").unlink()
    with pytest.raises(vaezoo.FileError, match=r"a whole pipeline \(model_index\.json\) and not a VAE$"):
        vaezoo.create(f"local-dir:{tmp_path}")


def test_a_pickle_alone_is_refused_with_the_way_out(tmp_path, hub):
    model = small_model("AutoencoderKL")
    model.save_pretrained(tmp_path)
    (tmp_path / PLAIN).rename(tmp_path / "diffusion_pytorch_model.bin")
    hub.commit("alice/vae", files_of(tmp_path))
    for name, error in ((f"local-dir:{tmp_path}", vaezoo.FileError), ("hf-hub:alice/vae", vaezoo.HubError)):
        assert vaezoo.create(name).spec == vaezoo.get_spec(name)
        with pytest.raises(error, match=r"model\.bin is a pickle, which vaezoo does not open: .*--from-pickle"):
            vaezoo.create(name, pretrained=True)


def test_a_variant_that_is_not_there_says_what_is(tmp_path, hub):
    small_model("AutoencoderKL").save_pretrained(tmp_path)
    with pytest.raises(vaezoo.FileError, match=rf"no diffusion_pytorch_model\.bf16\.safetensors in it, only .*{PLAIN}"):
        vaezoo.create(f"local-dir:{tmp_path}", pretrained=True, variant="bf16")
    hub.commit("alice/vae", files_of(tmp_path))
    with pytest.raises(vaezoo.HubError, match=rf"has no diffusion_pytorch_model\.fp16\.safetensors at .*{PLAIN}"):
        vaezoo.create("hf-hub:alice/vae", pretrained=True, variant="fp16")


@pytest.mark.parametrize("name", ["vae_f8_z4", "x.yaml", "file:x.safetensors"])
def test_a_variant_of_anything_but_a_folder_is_an_input_error(name):
    with pytest.raises(vaezoo.InputError, match="variant='fp16' is for hf-hub: and local-dir: names"):
        vaezoo.create(name, variant="fp16")
    with pytest.raises(vaezoo.InputError, match="expected letters"):
        vaezoo.create("hf-hub:alice/vae", variant="../fp16")


def test_folders_of_vaezoo_lie_in_subfolders_too_and_have_no_variants(tmp_path, hub, saved):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name, content in saved.items():
        (tmp_path / "in" / "deep" / name).write_bytes(content)
    hub.commit("alice/many", {f"in/deep/{name}": content for name, content in saved.items()})
    a = vaezoo.create(f"local-dir:{tmp_path}#in/deep", pretrained=True)
    b = vaezoo.create("hf-hub:alice/many#in/deep", pretrained=True)
    assert same_weights(b, a)
    with pytest.raises(vaezoo.InputError, match="was written by vaezoo, with one file of weights"):
        vaezoo.create(f"local-dir:{tmp_path}#in/deep", variant="fp16")


def test_a_folder_with_a_sign_in_its_own_name_has_a_way_in(tmp_path, saved):
    own = tmp_path / "a#b"
    own.mkdir()
    for name, content in saved.items():
        (own / name).write_bytes(content)
    with pytest.raises(vaezoo.FileError, match=r"no such folder; the folder .*a#b is written local-dir:.*a#b#\.$"):
        vaezoo.create(f"local-dir:{own}")
    assert vaezoo.create(f"local-dir:{own}#.", pretrained=True)


def test_a_hostile_config_of_a_folder_fetches_no_weights(tmp_path, hub):
    small_model("AutoencoderKL").save_pretrained(tmp_path)
    data = json.loads((tmp_path / "config.json").read_text()) | {"block_out_channels": [10**9] * 3}
    hub.commit("alice/vae", {**files_of(tmp_path), "config.json": json.dumps(data).encode()})
    with pytest.raises(vaezoo.SpecError, match=r"block_out_channels\[0\]: expected 1 to 65,536"):
        vaezoo.create("hf-hub:alice/vae", pretrained=True)
    assert not any(os.path.basename(request.path) == PLAIN for request in hub.requests)


def test_a_folder_of_diffusers_is_pinned_with_the_file_of_weights_that_was_chosen(hub, tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in ("old", "new"):
        small_model("AutoencoderTiny").half().save_pretrained(tmp_path / name, variant="fp16")
    old, new = (files_of(tmp_path / name, "vae/") for name in ("old", "new"))
    file = "vae/diffusion_pytorch_model.fp16.safetensors"
    first = hub.commit("alice/pipe", old)
    assert main(["download", "hf-hub:alice/pipe#vae", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["pinned"]["commit"] == first
    assert [f["file"] for f in row["pinned"]["files"]] == ["vae/config.json", file]
    hub.commit("alice/pipe", new)
    pinned, moved = (vaezoo.create(f"hf-hub:alice/pipe{at}#vae", pretrained=True) for at in ("", "@main"))
    assert not torch.equal(pinned.encoder[1].weight, moved.encoder[1].weight)
    lock = tmp_path / "here" / "vaezoo.lock"
    lock.write_text(lock.read_text().replace(file, "vae/other.safetensors"))
    with pytest.raises(vaezoo.SpecError, match=rf"{file} is needed and not in this lock: .*@{first}"):
        vaezoo.create("hf-hub:alice/pipe#vae", pretrained=True)
