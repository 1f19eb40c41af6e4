"""The lock file: what was downloaded first is what is loaded later, or there is one clear error."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants
from support.config_folder import write_network

import vaezoo
from vaezoo.cli import main
from vaezoo.specs import catalog
from vaezoo.weights.hub import Hub
from vaezoo.weights.lock import read_lock
from vaezoo.zoo.find import fetch

NAME, FILE = "mine_f8_z4.mine", "deep/micro.safetensors"
UNPINNED = {"hub": "alice/weights", "file": FILE}


@pytest.fixture
def here(hub, tmp_path, monkeypatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("VAEZOO_LOCK", raising=False)
    return folder


@pytest.fixture
def record(hub, here, tmp_path, saved, monkeypatch):
    """A network `mine_f8_z4` with a tag `mine`, whose weights are in main of alice; gives a function to change it."""
    monkeypatch.setattr(catalog, "_added", [])
    hub.commit("alice/weights", {FILE: saved["model.safetensors"]})
    path = write_network(tmp_path / "zoo") / "weights" / "mine_f8_z4.yaml"

    def write(**changes):
        entry = {"source": UNPINNED, "layout": "native", "license": "mit", "verified": False, "aliases": ["my-alias"]}
        path.write_text(json.dumps({"default": "mine", "mine": entry | changes}))

    write()
    vaezoo.add_config_dir(tmp_path / "zoo")
    return write


@pytest.fixture(scope="session")
def other(tmp_path_factory) -> dict[str, bytes]:
    """The files of a second model of the same network, with other weights."""
    folder = vaezoo.save(vaezoo.create("vae_f8_z4_micro"), tmp_path_factory.mktemp("other"), license="mit")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def download(capsys, *arguments: str) -> list[dict]:
    assert main(["download", *arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def loaded(name: str, tmp_path: Path) -> bytes:
    vaezoo.export_checkpoint(vaezoo.create(name, pretrained=True), tmp_path / "loaded.safetensors")
    return (tmp_path / "loaded.safetensors").read_bytes()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_first_download_of_unpinned_weights_is_what_is_loaded_ever_after(
    hub, record, saved, other, here, tmp_path, capsys
):
    assert main(["download", NAME]) == 0
    first = hub.repos["alice/weights"].at("main").sha
    told = capsys.readouterr().out
    assert f"pinned in vaezoo.lock: {NAME} is alice/weights at commit {first}" in told
    assert f"{FILE}: sha256 {sha256(saved['model.safetensors'])}" in told
    hub.commit("alice/weights", {FILE: other["model.safetensors"]})
    shutil.rmtree(constants.HF_HUB_CACHE)
    assert loaded("mine_f8_z4", tmp_path) == saved["model.safetensors"]
    assert Path(fetch("my-alias", Hub())[0].path).read_bytes() == saved["model.safetensors"]
    (row,) = download(capsys, NAME)
    assert row["pinned"] is None  # it was before
    (here / "vaezoo.lock").unlink()
    assert loaded("mine_f8_z4", tmp_path) == other["model.safetensors"]


def test_a_published_folder_is_pinned_with_its_config(hub, here, saved, other, tmp_path, capsys):
    first = hub.commit("alice/vae", saved)
    (row,) = download(capsys, "hf-hub:alice/vae")
    assert row["pinned"]["commit"] == first
    assert {f["file"]: f["sha256"] for f in row["pinned"]["files"]} == {
        name: sha256(saved[name]) for name in ("config.json", "model.safetensors")
    }
    hub.commit("alice/vae", other)
    assert loaded("hf-hub:alice/vae", tmp_path) == saved["model.safetensors"]
    assert loaded("hf-hub:alice/vae@main", tmp_path) == other["model.safetensors"]  # another name
    hub.requests.clear()
    assert vaezoo.get_spec("hf-hub:alice/vae").name == "vae_f8_z4_micro"
    assert hub.requests == []  # pinned and cached


def test_a_commit_needs_no_lock(hub, here, saved, capsys):
    commit = hub.commit("alice/vae", saved)
    assert download(capsys, f"hf-hub:alice/vae@{commit}")[0]["pinned"] is None
    assert list(here.iterdir()) == []


def test_weights_that_are_pinned_on_record_need_no_lock(hub, record, saved, here, capsys):
    commit = hub.repos["alice/weights"].at("main").sha
    record(source={**UNPINNED, "revision": commit}, sha256=sha256(saved["model.safetensors"]), verified=True)
    assert download(capsys, NAME)[0]["pinned"] is None
    assert list(here.iterdir()) == []


def test_several_names_are_pinned_in_one_file_and_one_name_once(hub, record, saved, here, capsys):
    hub.commit("alice/vae", saved)
    rows = download(capsys, NAME, "my_alias", "hf-hub:alice/vae", "hf-hub:alice/vae")
    assert [bool(row["pinned"]) for row in rows] == [True, False, True, False]
    pins = read_lock(here / "vaezoo.lock")
    assert list(pins) == ["hf-hub:alice/vae", NAME]
    assert pins[NAME].repo == "alice/weights"
    before = (here / "vaezoo.lock").read_text()
    hub.commit("alice/vae", saved | {"README.md": b"new"}, branch="next")
    download(capsys, "hf-hub:alice/vae@next")
    assert (here / "vaezoo.lock").read_text().startswith(before[: before.index(f'"{NAME}"')])
    assert len(read_lock(here / "vaezoo.lock")) == 3


def test_the_lock_file_is_chosen_by_option_or_environment(
    hub, record, saved, other, here, tmp_path, monkeypatch, capsys
):
    (row,) = download(capsys, NAME, "--lock", "mine.lock")
    assert row["pinned"]["lock"] == "mine.lock"
    hub.commit("alice/weights", {FILE: other["model.safetensors"]})
    assert loaded(NAME, tmp_path) == other["model.safetensors"]  # nobody said mine.lock
    monkeypatch.setenv("VAEZOO_LOCK", "mine.lock")
    assert loaded(NAME, tmp_path) == saved["model.safetensors"]
    monkeypatch.setenv("VAEZOO_LOCK", "new.lock")
    with pytest.raises(
        vaezoo.FileError, match=rf"^new\.lock: missing, but VAEZOO_LOCK names it; `vaezoo download {NAME}` writes it"
    ):
        vaezoo.create(NAME, pretrained=True)
    download(capsys, NAME)
    assert sorted(path.name for path in here.iterdir()) == ["mine.lock", "new.lock"]


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_file_that_changed_at_the_same_commit_is_refused(hub, here, saved, capsys, file):
    hub.commit("alice/vae", saved)
    download(capsys, "hf-hub:alice/vae")
    lock = here / "vaezoo.lock"
    lock.write_text(lock.read_text().replace(sha256(saved[file]), "0" * 64))
    with pytest.raises(
        vaezoo.HubError, match=rf"alice/vae: .*{file}: damaged or exchanged.*vaezoo\.lock:2:1"
    ) as caught:
        vaezoo.create("hf-hub:alice/vae", pretrained=True)
    assert caught.value.kind == "hash"


def test_a_hub_that_serves_another_file_at_the_same_commit_is_refused(hub, record, here, capsys):
    download(capsys, NAME)
    hub.corrupt("alice/weights", "main", FILE)
    shutil.rmtree(constants.HF_HUB_CACHE)
    with pytest.raises(vaezoo.HubError, match="damaged or exchanged") as caught:
        vaezoo.create(NAME, pretrained=True)
    assert caught.value.kind == "hash"


def test_a_record_that_contradicts_the_lock_is_told_with_the_line(hub, record, saved, here, capsys):
    download(capsys, NAME)
    first, found = hub.repos["alice/weights"].at("main").sha, sha256(saved["model.safetensors"])
    record(source={**UNPINNED, "revision": first}, sha256=found, verified=True)
    vaezoo.create(NAME, pretrained=True)  # the record now says the same
    for changes, text in [
        ({"source": {**UNPINNED, "revision": "a" * 40}}, f"commit is {first} in this lock and {'a' * 40} on record"),
        ({"sha256": "0" * 64}, f"sha256 of {FILE} is {found} in this lock and {'0' * 64} on record"),
        (
            {"source": {**UNPINNED, "hub": "bob/weights"}},
            "repo is alice/weights in this lock and bob/weights on record",
        ),
        (
            {"source": {**UNPINNED, "file": "x.safetensors"}},
            "sha256 of x.safetensors is absent in this lock and needed",
        ),
    ]:
        record(**changes)
        with pytest.raises(vaezoo.SpecError) as caught:
            vaezoo.create(NAME, pretrained=True)
        assert str(caught.value).startswith(f"vaezoo.lock:2:1: {NAME}: {text}")
        assert "remove the entry" in str(caught.value)


BROKEN = {
    "[]": "1:1: expected a mapping, got a list",
    "a: {": "1:5: not YAML",
    "a: {}": "1:4: a: missing repo, commit and files for Pin",
    "a: {repo: a/b, commit: main, files: []}": "1:24: a.commit: expected a commit of 40 hexadecimal digits, got 'main'",
    f"a: {{repo: a/b, commit: {'a' * 40}, files: [{{file: x, sha256: y}}]}}": (
        "1:92: a.files[0].sha256: expected 64 hexadecimal digits, got 'y'"
    ),
    f"a: {{repo: a/b, comit: {'a' * 40}, files: []}}": "1:16: a.comit: unknown key 'comit' for Pin; did you mean",
    "a: 1\na: 2": "2:1: duplicate key 'a'; first at vaezoo.lock:1:1",
    "": "empty",
    "a: {repo: 1, commit: 2, files: 3}": "1:11: a.repo: expected text, got 1",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_lock_names_its_line_and_is_not_written_over(hub, record, here, text, capsys):
    (here / "vaezoo.lock").write_text(text)
    with pytest.raises(vaezoo.SpecError) as caught:
        vaezoo.create(NAME, pretrained=True)
    assert "vaezoo.lock:" in str(caught.value)
    assert BROKEN[text] in str(caught.value)
    assert main(["download", NAME]) == 2
    assert BROKEN[text] in capsys.readouterr().err
    assert (here / "vaezoo.lock").read_text() == text


def test_a_broken_lock_does_not_hinder_what_needs_none(hub, here):
    (here / "vaezoo.lock").write_text("[]")
    vaezoo.create("vae_f8_z4", pretrained=True)


def test_a_lock_that_cannot_be_written_or_read_names_the_remedy(hub, record, here, capsys):
    assert main(["download", NAME, "--lock", "nowhere/vaezoo.lock"]) == 2
    told = capsys.readouterr().err
    assert "nowhere/vaezoo.lock: cannot be written" in told
    assert "--lock or VAEZOO_LOCK names another file" in told
    (here / "vaezoo.lock").mkdir()
    assert main(["download", NAME]) == 2
    assert "vaezoo.lock: cannot be read" in capsys.readouterr().err


def test_a_name_too_long_for_a_lock_is_not_written(hub, here, saved, capsys):
    branch = "b" * 90
    hub.commit("alice/vae", saved, branch=branch)
    assert main(["download", f"hf-hub:alice/vae@{branch}"]) == 2
    assert "a key is 1 to 100 printable characters" in capsys.readouterr().err
    assert list(here.iterdir()) == []
