"""`convert`, `publish` and `evaluate`, killed at any moment: the old or the new is whole, and a rerun completes it."""

import os
import shutil
import tempfile

import pytest
import torch
from huggingface_hub import close_session
from support.kills import CHANGES, content, killed_at, rerun_after_kills
from support.training import write_photos

import vaezoo
from vaezoo.cli import main
from vaezoo.evaluation.results import check_results
from vaezoo.io.files import make_folder
from vaezoo.sharing import publish
from vaezoo.sharing.card import SampleReconstructions


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a small model, and the system's temporary folder in it."""
    vaezoo.save(vaezoo.create("vae_f8_z4_micro"), tmp_path / "work" / "model")
    monkeypatch.setattr(tempfile, "tempdir", str(make_folder(tmp_path / "work" / "tmp")))
    return tmp_path / "work"


def before_last_rename(events):
    return [max(i for i, event in enumerate(events) if event.startswith("os.rename"))]


def run(*command):
    assert main([str(part) for part in command]) == 0


ALL = pytest.param({}, marks=pytest.mark.slow, id="all")
ONE = pytest.param({"chosen": before_last_rename}, id="one")


@pytest.mark.parametrize("pickled", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("kills", [ONE, ALL])
def test_a_killed_conversion_leaves_the_old_or_the_new_file(work, kills, pickled):
    source, out = work / "model" / "model.safetensors", work / "out.safetensors"
    if pickled:
        torch.save(vaezoo.create("vae_f8_z4_micro").state_dict(), work / "model.ckpt")
        source = work / "model.ckpt"
    shutil.copy(work / "model" / "model.safetensors", out)
    old, command = out.read_bytes(), ["convert", source, out, "--to", "documented", *["--from-pickle"][:pickled]]
    run(*command)
    new = out.read_bytes()
    out.write_bytes(old)
    assert old != new

    def whole(folder):
        assert (folder / "out.safetensors").read_bytes() in (old, new)

    assert rerun_after_kills(work, lambda: run(*command), whole=whole, **kills) > 0


@pytest.mark.parametrize(
    ("events", "count"), [(("os.rename",), 1), pytest.param((*CHANGES, "socket."), 10_000, marks=pytest.mark.slow)]
)
def test_a_killed_publishing_leaves_the_old_or_the_new_commit(work, hub, monkeypatch, events, count):
    monkeypatch.setattr(publish, "show_samples", lambda vae, _: SampleReconstructions(torch.zeros(3, 8, 8), 12.345, 4))
    old, new = (vaezoo.create("vae_f8_z4_micro") for _ in range(2))

    def push(vae=new):
        close_session()  # the connections of another process
        vaezoo.push_to_hub(vae, "alice/vae", license="mit", token="hf_alice")

    def files():
        return hub.repos["alice/vae"].at("main").files

    push(new)
    after = files()
    push(old)
    before, killed, kills = files(), True, 0
    assert before != after
    while killed and kills < count:
        killed = killed_at(kills, push, events)
        assert files() in (before, after)
        push()
        assert files() == after
        assert os.listdir(tempfile.gettempdir()) == []
        hub.commit("alice/vae", before)
        kills += killed
    assert kills == 1 if count == 1 else kills > 2


@pytest.mark.slow
def test_a_killed_evaluation_leaves_the_old_or_the_new_rows(work):
    photos, results = write_photos(work / "photos", 2), work / "results.csv"
    command = ["evaluate", f"local-dir:{work / 'model'}", "--data", photos, "--size", 32, "--nets", "--out", results]
    run(*command)
    old = content(work)

    def evaluate():
        if len(check_results(results)) < 2:  # as one who looks whether the row is there
            run(*command, "--sheet", work / "sheet.png", "--count", 1)

    assert rerun_after_kills(work, evaluate) > 0
    assert old["results.csv"] in results.read_bytes()
