"""What is not published, and why; the commands `vaezoo publish` and `vaezoo download`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from support.hub_server import Reply, refusal
from support.representatives import first_of

import vaezoo
from vaezoo.cli import main
from vaezoo.sharing import publish
from vaezoo.sharing.card import SampleReconstructions


@pytest.fixture
def vae(monkeypatch):
    """A small model; what its card shows is made up, because measuring takes seconds."""

    def show(vae, track):
        return SampleReconstructions(torch.zeros(3, 8, 8), 12.345, len(list(track([]))) + 4)

    monkeypatch.setattr(publish, "show_samples", show)
    return vaezoo.create("vae_f8_z4_micro")


@pytest.fixture
def fails(hub, vae):
    """Pushing fails with that kind and these parts in the text."""

    def check(kind, *parts, repo="alice/vae", token="hf_alice", **options):
        with pytest.raises(vaezoo.HubError) as caught:
            vaezoo.push_to_hub(vae, repo, license="mit", token=token, **options)
        text = str(caught.value)
        assert caught.value.kind == kind, text
        for part in parts:
            assert part in text, (part, text)
        assert str(token) not in text

    return check


def push(vae, **options):
    return vaezoo.push_to_hub(vae, "alice/vae", license="mit", token="hf_alice", **options)


@pytest.mark.parametrize("license", ["", " ", None])
def test_a_license_is_required(hub, vae, license):
    with pytest.raises(vaezoo.InputError, match="a license is required"):
        vaezoo.push_to_hub(vae, "alice/vae", license=license, token="hf_alice")
    assert hub.requests == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_published(hub, vae, value):
    with torch.no_grad():
        vae.decoder[0].weight[0] = value
    with pytest.raises(vaezoo.CheckpointError, match=r"NaN or infinite weights in decoder\.0\.weight: not saved"):
        push(vae)
    assert hub.requests == []


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("repo", ["vae", "a/b/c", "alice/../vae", "", "alice/v--e"])
def test_a_name_that_no_repository_can_have_is_refused(hub, fails, repo, dry_run):
    fails("refused", repo, repo=repo, dry_run=dry_run)
    assert hub.requests == []


def test_writing_needs_a_token_and_the_right_one(hub, vae, fails):
    fails("refused", "with 401", ": a token is needed (`hf auth login` or token=)", token=False)
    fails("refused", "with 403", "only alice may write here", "another token is needed", token="hf_bob")
    push(vae)
    with torch.no_grad():
        vae.encoder[0].bias.add_(1)
    fails("refused", "with 403", "only alice may write here", "another token is needed", token="hf_bob")
    fails("refused", "with 401", "another token is needed", token="hf_wrong")
    assert len(hub.repos["alice/vae"].commits) == 2


def test_a_repository_that_changes_meanwhile_is_left_alone(hub, vae, fails):
    push(vae)

    def move(server, method, path):
        if "/preupload/" in path:
            server.before = None
            server.commit("alice/vae", {"other.txt": b"somebody else's"})

    with torch.no_grad():
        vae.encoder[0].bias.add_(1)
    before = dict(hub.repos["alice/vae"].at("main").files)
    hub.before = move
    fails("conflict", "alice/vae changed while files were sent", "nothing was written", "push again")
    assert hub.repos["alice/vae"].at("main").files == before | {"other.txt": b"somebody else's"}
    push(vae)


def test_a_tag_that_is_taken_stays_and_says_where_the_files_went(hub, vae, fails):
    first = push(vae, tag="v1")
    with torch.no_grad():
        vae.encoder[0].bias.add_(1)
    fails("conflict", f"already has a tag v1, at {first.commit[:12]}", "another tag=", tag="v1")
    head = hub.repos["alice/vae"].at("main").sha
    assert head != first.commit
    assert push(vae, tag="v2").commit == head
    assert hub.repos["alice/vae"].at("v2").sha == head


def test_a_tag_is_no_branch_to_commit_to(hub, vae, fails):
    push(vae, tag="v1")
    fails("refused", "'v1' is a tag", "commits go to a branch", revision="v1")
    with pytest.raises(vaezoo.InputError, match="tag it after the merge"):
        push(vae, tag="v2", create_pr=True)


def test_private_never_publishes_where_all_can_read(hub, vae, fails):
    hub.create("alice/vae")
    fails("refused", "alice/vae exists already and is public", "private=True", private=True)
    assert len(hub.repos["alice/vae"].commits) == 1


def test_an_upload_that_fails_says_so(hub, fails):
    hub.before = lambda server, method, path: 418 if method == "PUT" else None
    fails("refused", "418", "answered by the test")
    assert len(hub.repos["alice/vae"].commits) == 1


def test_a_card_that_is_refused_says_why(hub, fails):
    answer = Reply(400, {"errors": [{"message": '"license" must be one of'}], "warnings": []})
    hub.before = lambda server, method, path: answer if path == "/api/validate-yaml" else None
    fails("refused", "with 400", '"license" must be one of')


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(501, "server"), (refusal(429, "slow down"), "server"), (refusal(413, "too large"), "refused")],
)
def test_odd_answers_to_a_commit_are_passed_on(hub, fails, answer, kind):
    hub.before = lambda server, method, path: answer if "/commit/" in path else None
    fails(kind, str(getattr(answer, "status", answer)))


@pytest.mark.parametrize("body", first_of([b"<html>", {"id": 7, "sha": 7}, [1], {}], count=2), ids=str)
@pytest.mark.parametrize("place", ["/api/models/alice/vae", "/api/models/alice/vae/refs", "preupload", "commit"])
def test_a_malformed_answer_is_named(hub, vae, fails, place, body):
    push(vae)
    with torch.no_grad():
        vae.encoder[0].bias.add_(1)
    hub.before = lambda server, method, path: Reply(200, body) if path == place or place in path.split("/") else None
    fails("server", f"{hub.endpoint} does not answer like a Hub", "check the address", revision="next")


def test_publishing_offline_says_so(hub, fails, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fails("offline", "HF_HUB_OFFLINE is set; unset it")


def test_a_hub_that_is_down_is_named(hub, fails):
    hub.stop()
    fails("server", hub.endpoint, "Connection refused")


def test_the_commands_publish_and_download(hub, vae, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    monkeypatch.chdir(tmp_path)  # vaezoo.lock is written here
    vaezoo.save(vae, tmp_path / "mine")
    arguments = [
        "publish",
        f"local-dir:{tmp_path / 'mine'}",
        "alice/vae",
        "--license",
        "mit",
        "--tag",
        "v1",
        "--private",
    ]
    assert main([*arguments, "--dry-run"]) == 0
    assert hub.requests == []
    printed = capsys.readouterr()
    assert "model.safetensors" in printed.out
    assert printed.err == "vaezoo publish: reconstructing the sample photos for the model card\n"
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    repo = hub.repos["alice/vae"]
    assert repo.private
    assert told["commit"] == repo.at("v1").sha == repo.at("main").sha
    assert main(["download", "hf-hub:alice/vae@v1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    content = repo.at("main").files["model.safetensors"]
    assert row["bytes"] == len(content)
    assert Path(row["path"]).read_bytes() == content


def test_commands_end_with_2_and_one_message(hub, capsys):
    assert main(["download", "hf-hub:alice/none"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("vaezoo download: alice/none does not exist")
    assert "Traceback" not in told


@pytest.mark.slow  # another process that imports torch
def test_the_environment_names_the_hub_and_the_token(hub, saved, tmp_path):
    hub.commit("alice/vae", saved)
    hub.repos["alice/vae"].private = True
    env = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_alice", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "vaezoo.cli", "download", "hf-hub:alice/vae", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, cwd=tmp_path)
    (row,) = json.loads(done.stdout)
    assert row["path"].startswith(str(tmp_path))
    assert "hf_alice" not in done.stdout + done.stderr


@pytest.mark.parametrize(("step", "options"), [("/branch/", {"revision": "dev"}), ("/tag/", {"tag": "v1"})])
def test_a_branch_or_tag_that_an_answer_of_200_did_not_create_is_told(hub, fails, step, options):
    hub.create("alice/vae")
    hub.before = lambda server, method, path: Reply(200, b"<html>") if step in path else None
    what = " ".join([step.strip("/"), *options.values()])
    fails(
        "server",
        f"{hub.endpoint} does not answer like a Hub (it did not create the {what}",
        "check the addr",
        **options,
    )


@pytest.mark.parametrize(
    ("step", "body"),
    [
        ("/preupload/", {"files": [{"path": "x", "uploadMode": 7}]}),
        ("/objects/batch", {}),
        ("/objects/batch", {"objects": [{"oid": "x"}]}),
        ("/commit/", {"commitOid": "0" * 40, "commitUrl": "http://x"}),
    ],
)
def test_an_answer_that_the_client_finds_malformed_is_named(hub, fails, step, body):
    hub.create("alice/vae")
    hub.before = lambda server, method, path: Reply(200, body) if step in path else None
    fails("server", f"{hub.endpoint} does not answer like a Hub (", "check the address")
