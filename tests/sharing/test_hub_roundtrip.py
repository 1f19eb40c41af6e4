"""Publishing on a Hub and loading back, with the real client, over HTTP on loopback."""

import json
import logging

import pytest
import torch
from huggingface_hub import HfApi, constants
from support.hub_server import HubServer
from support.representatives import first_of

import vaezoo
from vaezoo.sharing import publish
from vaezoo.sharing.card import SampleReconstructions

FILES = ["README.md", "config.json", "model.safetensors", "reconstruction.jpg"]


@pytest.fixture
def vae(monkeypatch):
    """A small model with latent statistics; what its card shows is made up, because measuring takes seconds."""
    monkeypatch.setattr(publish, "show_samples", lambda vae, _: SampleReconstructions(torch.zeros(3, 8, 8), 12.345, 4))
    vae = vaezoo.create("vae_f8_z4_micro")
    vae.latent_stats = vaezoo.LatentStats(mean=(0.1, -0.2, 0.3, 0.4), std=(1.0, 2.0, 3.0, 0.1))
    return vae


@pytest.fixture
def push(hub, vae):
    """Publish the small model as alice's."""
    return lambda **options: vaezoo.push_to_hub(
        vae, options.pop("repo", "alice/vae"), license="mit", token=options.pop("token", "hf_alice"), **options
    )


def log(hub):
    """The requests since the last call, as "HEAD hub /path"."""
    lines = [f"{r.method} {r.host} {r.path}" for r in hub.requests]
    hub.requests.clear()
    return lines


def assert_same(a, b):
    assert a.spec == b.spec
    assert a.spec.hash == b.spec.hash
    assert a.latent_stats == b.latent_stats
    for (key, x), (other, y) in zip(a.state_dict().items(), b.state_dict().items(), strict=True):
        assert key == other
        assert x.dtype == y.dtype
        assert torch.equal(x, y), key


def change(vae):
    with torch.no_grad():
        vae.encoder[0].bias.add_(1)


@pytest.mark.parametrize("dtype", first_of([torch.bfloat16, torch.float32, torch.float16]))
def test_what_is_pushed_comes_back_bit_equal(hub, vae, push, dtype, tmp_path):
    vae.to(dtype)
    pushed = push()
    back = vaezoo.create("hf-hub:alice/vae", pretrained=True, dtype=None)
    assert_same(vae, back)
    assert not back.training
    files = hub.repos["alice/vae"].at("main").files
    assert pushed.commit == hub.repos["alice/vae"].at("main").sha
    assert pushed.url == f"{hub.endpoint}/alice/vae/commit/{pushed.commit}"
    assert pushed.files == {name: len(files[name]) for name in FILES}
    assert set(files) == {*FILES, ".gitattributes"}
    for name in FILES:  # the same files as a folder load the same
        (tmp_path / name).write_bytes(files[name])
    assert_same(back, vaezoo.create(f"local-dir:{tmp_path}", pretrained=True, dtype=None))
    assert vaezoo.get_spec("hf-hub:alice/vae") == vae.spec


def test_a_model_changed_by_overrides_comes_back_too(hub, push, vae):
    changed = vaezoo.create("vae_f8_z4_micro", overrides={"latent.channels": 6})
    vaezoo.push_to_hub(changed, "alice/changed", license="mit", token="hf_alice")
    assert_same(changed, vaezoo.create("hf-hub:alice/changed", pretrained=True))


def test_everything_goes_in_one_commit_and_large_files_through_lfs(hub, push):
    push()
    lines = log(hub)
    assert len(hub.repos["alice/vae"].commits) == 2  # the empty one that a new repository has, and ours
    assert sum("/commit/" in line for line in lines) == 1
    assert [line.split("/")[0] for line in lines if " cdn " in line] == ["PUT cdn "]
    entry = next(f for f in HfApi(endpoint=hub.endpoint).list_repo_tree("alice/vae") if f.path == "model.safetensors")
    assert entry.lfs.sha256 == json.loads(hub.repos["alice/vae"].at("main").files["config.json"])["weights"]["sha256"]


def test_an_identical_second_push_makes_no_commit_and_moves_no_tag(hub, push, vae):
    first = push(tag="v1")
    hub.requests.clear()
    assert push(tag="v1").commit == first.commit
    assert not any("/commit/" in line or "PUT" in line for line in log(hub))
    assert len(hub.repos["alice/vae"].commits) == 2
    change(vae)
    assert push().commit != first.commit


def test_a_dry_run_lists_files_and_sizes_and_asks_nothing(hub, push):
    planned = push(dry_run=True)
    assert hub.requests == []
    assert sorted(planned.files) == FILES
    assert (planned.url, planned.commit) == (None, None)
    assert planned.files == push().files


def test_tags_branches_and_commits_name_what_they_named_before(hub, push, vae):
    old = push(tag="v1")
    before = vae.encoder[0].bias.detach().clone()
    change(vae)
    push()
    push(revision="experiment/a", message="try")
    assert hub.repos["alice/vae"].at("experiment/a").title == "Publish with vaezoo"  # no change: no commit
    for revision in ("v1", old.commit):
        for name, options in ((f"hf-hub:alice/vae@{revision}", {}), ("hf-hub:alice/vae", {"revision": revision})):
            assert torch.equal(vaezoo.create(name, pretrained=True, **options).encoder[0].bias, before)
    for name in ("hf-hub:alice/vae", "hf-hub:alice/vae@main", "hf-hub:alice/vae@experiment/a"):
        assert_same(vae, vaezoo.create(name, pretrained=True))


def test_a_branch_grows_on_its_own_head(hub, push, vae):
    push()
    change(vae)
    push(revision="dev", message="first")
    change(vae)
    last = push(revision="dev", message="second")
    repo = hub.repos["alice/vae"]
    assert repo.at("dev").sha == last.commit
    assert repo.commits[repo.at("dev").parent].title == "first"
    assert repo.at("main").title == "Publish with vaezoo"


def test_anyone_with_a_token_opens_a_pull_request(hub, push, vae):
    push()
    main = hub.repos["alice/vae"].at("main").sha
    change(vae)
    pushed = push(create_pr=True, token="hf_bob")
    assert pushed.url == f"{hub.endpoint}/alice/vae/discussions/1"
    assert hub.repos["alice/vae"].at("main").sha == main
    assert_same(vae, vaezoo.create("hf-hub:alice/vae@refs/pr/1", pretrained=True))


def test_private_models_load_with_a_token(hub, push, vae):
    push(private=True)
    assert hub.repos["alice/vae"].private
    assert_same(vae, vaezoo.create("hf-hub:alice/vae", pretrained=True, token="hf_alice"))


def test_gated_models_load_with_a_token_that_was_granted_access(hub, push, vae):
    push()
    hub.gate("alice/vae", "bob")
    assert_same(vae, vaezoo.create("hf-hub:alice/vae", pretrained=True, token="hf_bob"))


def test_a_cached_commit_is_loaded_without_a_request(hub, push, vae):
    commit = push().commit
    vaezoo.create("hf-hub:alice/vae", pretrained=True)
    hub.requests.clear()
    assert_same(vae, vaezoo.create(f"hf-hub:alice/vae@{commit}", pretrained=True))
    assert log(hub) == []
    vaezoo.create(f"hf-hub:alice/vae@{commit}", pretrained=True, force_download=True)
    assert any("GET cdn" in line for line in log(hub))


def test_cached_models_load_offline(hub, push, vae, monkeypatch):
    push()
    vaezoo.create("hf-hub:alice/vae", pretrained=True)
    hub.requests.clear()
    assert_same(vae, vaezoo.create("hf-hub:alice/vae", pretrained=True, local_files_only=True))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert_same(vae, vaezoo.create("hf-hub:alice/vae", pretrained=True))
    assert log(hub) == []


def test_cached_models_load_while_the_hub_is_down(hub, push, vae):
    push()
    vaezoo.create("hf-hub:alice/vae", pretrained=True)
    hub.stop()
    assert_same(vae, vaezoo.create("hf-hub:alice/vae", pretrained=True))


def test_config_and_weights_are_of_one_commit_while_main_moves(hub, push, vae):
    push()
    other = vaezoo.create("vae_f8_z4_micro", overrides={"encoder.1.layers": 2})

    def move(server, method, path):
        if "/resolve/" in path:  # the first file is asked for: the commit was looked up before
            server.before = None
            vaezoo.push_to_hub(other, "alice/vae", license="mit", token="hf_alice")

    hub.before = move
    assert_same(vae, vaezoo.create("hf-hub:alice/vae", pretrained=True))
    assert_same(other, vaezoo.create("hf-hub:alice/vae", pretrained=True))


def test_cache_dir_is_where_files_are_kept(hub, push, vae, tmp_path):
    push()
    assert_same(vae, vaezoo.create("hf-hub:alice/vae", pretrained=True, cache_dir=tmp_path / "mine"))
    assert (tmp_path / "mine" / "models--alice--vae").is_dir()
    assert not (tmp_path / "hub" / "models--alice--vae").exists()


def test_endpoint_names_another_hub(hub, push, vae):
    with HubServer({"hf_alice": "alice"}) as other:
        push(endpoint=other.endpoint)
        assert_same(vae, vaezoo.create("hf-hub:alice/vae", pretrained=True, endpoint=other.endpoint))
    assert hub.requests == []


def test_the_token_is_in_no_file_log_or_request_to_the_store(hub, push, vae, caplog):
    caplog.set_level(logging.DEBUG)
    push(private=True)
    vaezoo.create("hf-hub:alice/vae", pretrained=True, token="hf_alice")
    sent = [r for r in hub.requests if r.host == "cdn"]
    assert {r.method for r in sent} == {"PUT", "GET"}
    assert not any(r.authorized for r in sent)
    assert any(r.authorized for r in hub.requests)
    assert "hf_alice" not in caplog.text
    assert not any(b"hf_alice" in content for content in hub.repos["alice/vae"].at("main").files.values())


def test_requests_say_that_they_are_of_vaezoo(hub, push):
    push()
    vaezoo.create("hf-hub:alice/vae", pretrained=True)
    agents = {r.user_agent for r in hub.requests if r.host == "hub" and not r.path.endswith(("/batch", "/verify"))}
    assert agents
    assert all(f"vaezoo/{vaezoo.__version__}" in agent for agent in agents), agents
