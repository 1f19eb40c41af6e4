"""What a Hub refuses, lacks or damages: every failure is a `HubError` that says which it was and what to do."""

import os
import traceback

import huggingface_hub
import pytest
from huggingface_hub import constants
from support.hub_server import Reply, refusal
from support.tiny_pipeline import LDM, small

import vaezoo
from vaezoo.weights import cached
from vaezoo.weights.hub import Hub

NAME = "hf-hub:alice/vae"


@pytest.fixture
def published(hub, saved):
    """alice/vae on the Hub, tagged v1."""
    commit = hub.commit("alice/vae", saved)
    hub.repos["alice/vae"].refs["refs/tags/v1"] = commit
    return commit


def fails(kind, *parts, name=NAME, **options):
    """`create` fails with that kind and these parts in the text; the token stands nowhere in the traceback."""
    with pytest.raises(vaezoo.HubError) as caught:
        vaezoo.create(name, pretrained=True, **options)
    text = str(caught.value)
    assert caught.value.kind == kind, text
    for part in parts:
        assert part in text, (part, text)
    assert "hf_alice" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is not None
    return caught.value


def test_the_kinds_are_those_that_the_class_lists():
    assert {"gated", "missing", "revision", "file", "offline", "conflict", "server", "hash", "refused"} == {
        *vaezoo.HubError.KINDS
    }


def test_a_missing_repository_may_be_private_or_misspelt(hub):
    fails("missing", "alice/vae does not exist", hub.endpoint, "without a token", "check the name", "hf auth login")
    fails("missing", "with your token", token="hf_alice")


def test_a_private_repository_looks_missing_without_the_right_token(hub, published):
    hub.repos["alice/vae"].private = True
    fails("missing", "or is private", "without a token", "hf auth login")
    fails("missing", "or is private", "with your token", token="hf_bob")


def test_a_gated_repository_says_where_to_ask(hub, published):
    hub.gate("alice/vae")
    fails("gated", f"request access at {hub.endpoint}/alice/vae", "without a token", "hf auth login")
    fails("gated", "with your token", token="hf_bob")


def test_a_wrong_revision_lists_the_right_ones(hub, published):
    fails("revision", "no revision 'v2'", "it has main, v1", revision="v2")
    fails(
        "revision", "no revision 'main/vae'", "a folder is written after a #, as in @main#vae", name=f"{NAME}@main/vae"
    )
    fails("revision", "no revision '0000", "it has main, v1", name=f"{NAME}@{'0' * 40}")


def test_a_missing_file_lists_what_is_there(hub):
    hub.commit("alice/vae", {"model.safetensors": b"1", "pytorch_model.bin": b"2"})
    fails("file", "no config.json at", "it has .gitattributes, model.safetensors, pytorch_model.bin")


def test_weights_as_pickle_only_are_refused(hub, saved):
    hub.commit("alice/vae", {"config.json": saved["config.json"], "pytorch_model.bin": b"\x80\x02"})
    fails("file", "no model.safetensors", "pytorch_model.bin is a pickle, which vaezoo does not open")
    assert not any("pytorch_model.bin" in r.path for r in hub.requests)


def test_offline_and_not_cached_says_how_to_cache(hub, published, monkeypatch):
    fails(
        "offline", "alice/vae is not in the cache", "local_files_only is set", "vaezoo download", local_files_only=True
    )
    vaezoo.get_spec(NAME)
    fails("offline", "alice/vae/model.safetensors is not in the cache", local_files_only=True)
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fails("offline", "model.safetensors is not in the cache and HF_HUB_OFFLINE is set", "vaezoo download")
    fails("offline", "HF_HUB_OFFLINE is set", force_download=True)
    assert hub.requests == []


def test_a_branch_that_is_not_cached_names_the_commits_that_are(hub, published, monkeypatch):
    exact = f"{NAME}@{published}"
    vaezoo.create(exact, pretrained=True)
    told = fails(
        "offline", "alice/vae is not in the cache", f"the cache has commits of it: {exact}", local_files_only=True
    )
    vaezoo.create(str(told).rpartition(": ")[2], pretrained=True, local_files_only=True)
    hub.stop()
    fails("server", "Connection refused", f"the cache has commits of it: {exact}")


def test_a_forced_download_from_the_cache_alone_is_a_contradiction():
    with pytest.raises(vaezoo.InputError, match="exclude each other"):
        vaezoo.create(NAME, local_files_only=True, force_download=True)


def test_a_hub_that_is_down_is_named(hub, published):
    hub.stop()
    fails("server", hub.endpoint, "Connection refused", "HF_ENDPOINT", "try again later")


@pytest.mark.parametrize("endpoint", ["nonsense", "http://[", "http://127.0.0.1:9/some where", "ftp://127.0.0.1"])
def test_an_address_of_no_hub_is_named(endpoint):
    fails("server", endpoint, "check the address", endpoint=endpoint)


@pytest.mark.parametrize(
    ("answer", "kind", "part"),
    [
        (501, "server", "answered 501 for alice/vae (answered by the test): try again later"),
        (429, "server", "answered 429"),
        (418, "refused", "with 418, answered by the test"),
        (Reply(404, b"<html>"), "refused", "check the address (HF_ENDPOINT"),
        (Reply(200, b"<html>Welcome to our wireless network"), "server", "does not answer like a Hub"),
        (refusal(403, "Access to this resource is disabled."), "refused", "Access to this resource is disabled."),
    ],
)
def test_odd_answers_are_passed_on(hub, published, answer, kind, part):
    hub.before = lambda server, method, path: answer
    fails(kind, part)


@pytest.mark.parametrize(("status", "kind"), [(501, "server"), (418, "refused"), (403, "refused")])
@pytest.mark.parametrize("force_download", [False, True])
def test_odd_answers_to_a_download_are_passed_on(hub, published, status, kind, force_download):
    hub.before = lambda server, method, path: status if method == "HEAD" else None
    fails(kind, str(status), "answered by the test", force_download=force_download)


def test_an_answer_that_is_no_hubs_is_named(hub, published):
    hub.before = lambda server, method, path: Reply(200, b"hello") if method == "HEAD" else None
    fails("server", "does not answer like a Hub", "X-Repo-Commit")


def test_a_token_that_is_not_valid_says_so(hub, published):
    fails("refused", "with 401", "another token is needed (`hf auth login`", token="hf_wrong")
    fails("refused", "hf auth login", token=True)


@pytest.mark.parametrize("repo", ["../vae", "alice/vae..x", "alice/v--e", "alice/", "x" * 97, "a b/c"])
def test_a_name_that_no_repository_can_have_is_refused(hub, repo):
    fails("refused", repo, name=f"hf-hub:{repo}")
    assert hub.requests == []


def test_a_corrupted_download_is_caught_and_mended_by_force(hub, published):
    hub.corrupt("alice/vae", "main", "model.safetensors")
    fails("hash", "alice/vae: ", "sha256 is", "damaged or exchanged", "force_download=True")
    fails("hash", "sha256 is")  # now from the cache
    hub._corrupted.clear()
    vaezoo.create(NAME, pretrained=True, force_download=True)
    vaezoo.create(NAME, pretrained=True)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("as_diffusers", [False, True])
def test_a_file_damaged_in_the_cache_is_caught_and_mended_by_force(hub, published, tmp_path, file, as_diffusers):
    name, cache = NAME, tmp_path / "cache"
    if as_diffusers:  # whose config names no hash of the weights
        vae = small(tmp_path, LDM, scale=0.5)
        vaezoo.save(vae, tmp_path / "saved", with_diffusers=True)
        files = {f"vae/{path.name}": path.read_bytes() for path in (tmp_path / "saved" / "vae").iterdir()}
        hub.commit("alice/other", files)
        name, file = "hf-hub:alice/other#vae", file.replace("model", "diffusion_pytorch_model")
    vaezoo.create(name, pretrained=True, cache_dir=cache)
    (found,) = cache.rglob(file)
    content = found.read_bytes()
    found.resolve().write_bytes(content.replace(content[-9:], b"~" * 9))
    for options in ({}, {"local_files_only": True}):
        remedy = "download it again with force_download=True, or with `vaezoo download NAME --force`"
        fails("hash", file, "damaged", remedy, name=name, cache_dir=cache, **options)
    vaezoo.create(name, pretrained=True, cache_dir=cache, force_download=True)
    assert found.read_bytes() == content


def test_a_cached_file_is_hashed_once(hub, published, tmp_path, monkeypatch):
    hashed, real = [], cached.sha256_of
    monkeypatch.setattr(cached, "sha256_of", lambda path: hashed.append(path) or real(path))
    for _ in range(2):
        vaezoo.create(NAME, pretrained=True, cache_dir=tmp_path)
    assert len(hashed) == 1
    os.utime(hashed[0])
    vaezoo.create(NAME, pretrained=True, cache_dir=tmp_path)
    assert len(hashed) == 2
    assert not huggingface_hub.scan_cache_dir(tmp_path).warnings


def test_a_download_that_is_cut_short_is_no_file(hub, published):
    hub.before = lambda server, method, path: Reply(200, b"short") if method == "GET" and "/files/" in path else None
    fails("server", "model.safetensors", "try again later")
    hub.before = None
    vaezoo.create(NAME, pretrained=True)


def test_a_cache_that_cannot_be_written_is_this_machines_fault(hub, published, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(vaezoo.FileError, match=r"alice/vae.* cannot be saved in .*file .*cache_dir="):
        vaezoo.create(NAME, pretrained=True, cache_dir=tmp_path / "file")


def test_the_token_is_not_shown_with_the_hub():
    assert "hf_alice" not in repr(Hub(token="hf_alice"))


@pytest.mark.parametrize("token", ["hf_secret\n", "", " hf_secret", "hf_sécret"])
def test_a_token_that_cannot_be_one_is_refused_without_being_shown(hub, token):
    with pytest.raises(vaezoo.InputError) as caught:
        vaezoo.create("hf-hub:alice/vae", token=token, endpoint=hub.endpoint)
    assert "cret" not in str(caught.value)
    assert hub.requests == []
