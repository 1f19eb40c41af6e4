"""Answers of a Hub that are not what they should be, and a commit that is damaged in the cache."""

import pytest
from support.hub_server import Reply

import vaezoo

NAME = "hf-hub:alice/vae"


@pytest.mark.parametrize(
    "body",
    [
        *(b"<html>", b"[" * 100_000, b"1" * 5000, b"\xff", [1], 7, None, "text", {}, {"id": "alice/vae"}),
        *({"id": 7, "sha": 7}, {"id": 1, "sha": "../x"}),
        *({"id": 1, "sha": "0" * 40, "siblings": [1]}, {"id": 1, "sha": ""}),
    ],
    ids=lambda body: str(body)[:20],
)  # fmt: skip
def test_a_malformed_answer_is_named(hub, saved, body):
    hub.commit("alice/vae", saved)
    hub.before = lambda server, method, path: Reply(200, body) if path.startswith("/api/models/") else None
    with pytest.raises(
        vaezoo.HubError, match=rf"{hub.endpoint} does not answer like a Hub .*: check the addr"
    ) as caught:
        vaezoo.create(NAME, pretrained=True)
    assert caught.value.kind == "server"


def test_a_damaged_commit_in_the_cache_is_mended_online(hub, saved, tmp_path):
    hub.commit("alice/vae", saved)
    vaezoo.create(NAME, pretrained=True, cache_dir=tmp_path)
    (ref,) = tmp_path.rglob("refs/main")
    ref.write_text("../x", encoding="utf-8")
    with pytest.raises(vaezoo.HubError, match=r"the cache has '\.\./x' as its commit: load it once while online"):
        vaezoo.create(NAME, pretrained=True, cache_dir=tmp_path, local_files_only=True)
    for offline in (False, True):
        vaezoo.create(NAME, pretrained=True, cache_dir=tmp_path, local_files_only=offline)
