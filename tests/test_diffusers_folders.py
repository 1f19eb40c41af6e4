"""Folders that diffusers' own `save_pretrained` wrote, on disk and on a Hub: the same numbers, and clear refusals."""

import json
import os
import random
from pathlib import Path

import diffusers
import pytest
import torch
from diffusers_configs import SMALL
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from small import randomised

import vaezoo

SIZES = [(32, 32), (32, 64)]
CLOSE = 1e-4  # of the largest magnitude
PLAIN, HALF = "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"


def small_model(name: str, seed: int = 0) -> torch.nn.Module:
    """A random model of a class of diffusers, of the kind that the layout of its names is for."""
    config = SMALL[name](random.Random(f"{name} {seed}"))
    wider = 1
    if "norm_num_groups" in config:
        config |= {"norm_num_groups": 32, "act_fn": "silu"}
        wider = 4
    if "attention_head_dim" in config:
        config |= {"attention_head_dim": 32, "encoder_out_shortcut": True, "decoder_in_shortcut": True}
        config |= {k: [[5] if scales else [] for scales in v] for k, v in config.items() if k.endswith("multiscales")}
        if 0 in config["decoder_layers_per_block"]:
            config |= {"upsample_block_type": "pixel_shuffle"}
        wider = 2
    widths = {k: v for k, v in config.items() if k.endswith("block_out_channels") and v}
    config |= {k: [wider * width for width in v] for k, v in widths.items()}
    return randomised(getattr(diffusers, name)(**config)).eval()


def files_of(folder: Path, below: str = "") -> dict[str, bytes]:
    return {f"{below}{path.name}": path.read_bytes() for path in folder.iterdir()}


def assert_close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= CLOSE * theirs.abs().max()


def assert_same_function(vae: vaezoo.VAE, model: torch.nn.Module) -> None:
    """Both give the same moments and images on two sizes."""
    channels = vae.spec.image.channels
    for height, width in SIZES:
        images = torch.rand(2, channels, height, width) * 2 - 1
        with torch.no_grad():
            moments, latents, decoded = run(model, images)
            assert_close(vae.encode(images).moments, moments)
            ours = vae.decode(latents)
        assert_close(ours.clamp(-1, 1) if is_video(model) else ours, decoded)


def is_video(model: torch.nn.Module) -> bool:
    return type(model).__name__ in ("AutoencoderKLQwenImage", "AutoencoderKLWan")


def run(model, images):
    """The moments (latents where there is no posterior), a latent, and its image; of video classes one frame."""
    if is_video(model):
        posterior = model.encode(images[:, :, None]).latent_dist
        return posterior.parameters[:, :, 0], posterior.mode()[:, :, 0], model.decode(posterior.mode()).sample[:, :, 0]
    encoded = model.encode(images)
    if hasattr(encoded, "latent_dist"):
        moments, latents = encoded.latent_dist.parameters, encoded.latent_dist.mode()
    else:
        moments = latents = encoded[0]
    return moments, latents, model.decode(latents, return_dict=False)[0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SMALL)
def test_a_model_saved_by_diffusers_opens_from_disk_with_the_same_numbers(name, seed, tmp_path):
    model = small_model(name, seed)
    model.save_pretrained(tmp_path / "vae")
    vae = vaezoo.create(f"local-dir:{tmp_path}#vae", pretrained=True)
    assert_same_function(vae, model)
    assert vaezoo.get_spec(f"local-dir:{tmp_path / 'vae'}") == vae.spec


@pytest.mark.parametrize("name", SMALL)
def test_a_model_saved_by_diffusers_opens_from_a_hub_by_id_and_subfolder(name, tmp_path, hub):
    model = small_model(name)
    model.save_pretrained(tmp_path / "plain")
    model.half().save_pretrained(tmp_path / "half", variant="fp16")
    hub.commit(
        "alice/pipe", {"model_index.json": b"{}", "unet/config.json": b"{}", **files_of(tmp_path / "plain", "vae/")}
    )
    first = hub.commit("alice/pipe", files_of(tmp_path / "half", "vae/"))
    plain = vaezoo.create("hf-hub:alice/pipe#vae", pretrained=True)
    half = vaezoo.create(f"hf-hub:alice/pipe@{first}#vae", pretrained=True, variant="fp16", dtype=None)
    assert next(plain.parameters()).dtype == torch.float32
    assert next(half.parameters()).dtype == torch.float16
    for key, tensor in plain.state_dict().items():
        assert torch.equal(tensor.half(), half.state_dict()[key])
    assert_same_function(half.float(), model.float())
    assert not any("unet" in request.path for request in hub.requests)


def test_fp16_is_opened_where_there_is_nothing_else_and_only_there(tmp_path, hub, monkeypatch):
    model = small_model("AutoencoderKL")
    model.half().save_pretrained(tmp_path, variant="fp16")
    vae = vaezoo.create(f"local-dir:{tmp_path}", pretrained=True, dtype=None)
    assert next(vae.parameters()).dtype == torch.float16
    commit = hub.commit("alice/vae", files_of(tmp_path))
    vaezoo.create(f"hf-hub:alice/vae@{commit}", pretrained=True)
    hub.requests.clear()
    vaezoo.create(f"hf-hub:alice/vae@{commit}", pretrained=True)
    assert hub.requests == []  # what the repository lacks is in the cache too
    vaezoo.create(f"hf-hub:alice/vae@{commit}", pretrained=True, local_files_only=True)
    model.float().save_pretrained(tmp_path)
    vae = vaezoo.create(f"local-dir:{tmp_path}", pretrained=True, dtype=None)
    assert next(vae.parameters()).dtype == torch.float32


def test_a_full_file_that_is_not_cached_is_not_replaced_by_fp16_offline(tmp_path, hub, monkeypatch):
    model = small_model("AutoencoderKL")
    model.save_pretrained(tmp_path)
    model.half().save_pretrained(tmp_path, variant="fp16")
    hub.commit("alice/vae", files_of(tmp_path))
    vaezoo.create("hf-hub:alice/vae", pretrained=True, variant="fp16")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    vaezoo.create("hf-hub:alice/vae", pretrained=True, variant="fp16")
    with pytest.raises(vaezoo.HubError, match=rf"{PLAIN} is not in the cache") as caught:
        vaezoo.create("hf-hub:alice/vae", pretrained=True)
    assert caught.value.kind == "offline"


def test_config_and_weights_are_of_one_commit_while_main_moves(tmp_path, hub):
    small_model("AutoencoderKL", 0).save_pretrained(tmp_path / "old")
    small_model("AutoencoderKL", 1).save_pretrained(tmp_path / "new")
    hub.commit("alice/vae", files_of(tmp_path / "old"))

    def move(server, method, path):
        if "/resolve/" in path:
            server.before = None
            server.commit("alice/vae", files_of(tmp_path / "new"))

    hub.before = move
    old, new = (vaezoo.create("hf-hub:alice/vae", pretrained=True) for _ in range(2))
    assert old.spec == vaezoo.get_spec(f"local-dir:{tmp_path / 'old'}")
    assert new.spec == vaezoo.get_spec(f"local-dir:{tmp_path / 'new'}") != old.spec


def test_old_names_of_attention_are_read(tmp_path):
    model = next(m for seed in range(9) if (m := small_model("AutoencoderKL", seed)).config.mid_block_add_attention)
    model.save_pretrained(tmp_path)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = load_file(tmp_path / PLAIN)
    for new, name in old.items():
        state = {key.replace(f".{new}.", f".{name}."): tensor for key, tensor in state.items()}
    assert sum(".proj_attn." in key for key in state) >= 4
    save_file(state, tmp_path / PLAIN, {"format": "pt"})
    assert_same_function(vaezoo.create(f"local-dir:{tmp_path}", pretrained=True), model)


def test_statistics_come_from_the_config(tmp_path):
    model = small_model("AutoencoderTiny")
    model.save_pretrained(tmp_path)
    vae = vaezoo.create(f"local-dir:{tmp_path}", pretrained=True)
    assert vae.latent_stats == vaezoo.LatentStats(scale=1.5, shift=0.25)
    assert vaezoo.create(f"local-dir:{tmp_path}").latent_stats is None


def test_packed_statistics_come_from_the_weights_and_their_eps_from_the_config(tmp_path):
    model = small_model("AutoencoderKLFlux2")
    model.save_pretrained(tmp_path)
    stats = vaezoo.create(f"local-dir:{tmp_path}", pretrained=True).latent_stats
    assert stats.mean == tuple(model.bn.running_mean.double().tolist())
    assert stats.var == tuple(model.bn.running_var.double().tolist())
    assert (stats.pack, stats.eps) == (2, 1e-3)
    state = {key: tensor for key, tensor in load_file(tmp_path / PLAIN).items() if not key.startswith("bn.")}
    save_file(state, tmp_path / PLAIN)
    with pytest.raises(vaezoo.CheckpointError, match="no statistics of latents packed 2x2"):
        vaezoo.create(f"local-dir:{tmp_path}", pretrained=True)


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


def test_weights_in_several_files_are_refused(tmp_path):
    small_model("AutoencoderKL").save_pretrained(tmp_path, max_shard_size=2_000)
    assert not (tmp_path / PLAIN).exists()
    (tmp_path / HALF).touch()
    with pytest.raises(vaezoo.FileError, match=r"weights in several files .*; only one file is read"):
        vaezoo.create(f"local-dir:{tmp_path}", pretrained=True)


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
    assert all(torch.equal(tensor, b.state_dict()[key]) for key, tensor in a.state_dict().items())
    with pytest.raises(vaezoo.InputError, match="was written by vaezoo, with one file of weights"):
        vaezoo.create(f"local-dir:{tmp_path}#in/deep", variant="fp16")


def test_a_folder_with_a_sign_in_its_own_name_has_a_way_in(tmp_path, saved):
    own = tmp_path / "a#b"
    own.mkdir()
    for name, content in saved.items():
        (own / name).write_bytes(content)
    with pytest.raises(vaezoo.FileError, match=r"no such folder; that of the name .*a#b is local-dir:.*a#b#\.$"):
        vaezoo.create(f"local-dir:{own}")
    assert vaezoo.create(f"local-dir:{own}#.", pretrained=True)


def test_a_hostile_config_of_a_folder_fetches_no_weights(tmp_path, hub):
    small_model("AutoencoderKL").save_pretrained(tmp_path)
    data = json.loads((tmp_path / "config.json").read_text()) | {"block_out_channels": [10**9] * 3}
    hub.commit("alice/vae", {**files_of(tmp_path), "config.json": json.dumps(data).encode()})
    with pytest.raises(vaezoo.SpecError, match=r"block_out_channels\[0\]: expected 1 to 65,536"):
        vaezoo.create("hf-hub:alice/vae", pretrained=True)
    assert not any(os.path.basename(request.path) == PLAIN for request in hub.requests)
