"""Folders that diffusers' own `save_pretrained` wrote, on disk and on a Hub, give the same numbers here."""

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from support.diffusers_small import PLAIN, SMALL, files_of, small_model
from support.representatives import first_of

import vaezoo

SIZES = [(32, 32), (32, 64)]
CLOSE = 1e-4  # of the largest magnitude


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


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
@pytest.mark.parametrize("name", SMALL)
def test_a_model_saved_by_diffusers_opens_from_disk_with_the_same_numbers(name, seed, tmp_path):
    model = small_model(name, seed)
    model.save_pretrained(tmp_path / "vae")
    vae = vaezoo.create(f"local-dir:{tmp_path}#vae", pretrained=True)
    assert_same_function(vae, model)
    assert vaezoo.get_spec(f"local-dir:{tmp_path / 'vae'}") == vae.spec


@pytest.mark.parametrize("name", first_of(SMALL))
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
    with pytest.raises(vaezoo.CheckpointError, match="does not hold the statistics of latents packed 2x2"):
        vaezoo.create(f"local-dir:{tmp_path}", pretrained=True)
