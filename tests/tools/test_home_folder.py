"""`~` is the home folder where the shell does not expand it: in `--out=~/x`, recipes, arguments and variables."""

import re
from pathlib import Path

import pytest
from PIL import Image
from support.checkout import ROOT
from support.commands import run

import vaezoo
from vaezoo.data.photos import photos
from vaezoo.weights.hub import Hub
from vaezoo.weights.lock import VARIABLE, lock_path


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home folder with a picture, beside the working directory, in which nothing may be written."""
    folder, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for each in (folder / "photos", elsewhere):
        each.mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(folder / "photos" / "a.png")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    monkeypatch.chdir(elsewhere)
    yield folder
    assert not list(elsewhere.iterdir())


def test_options_of_commands(home, capsys):
    run(capsys, "reconstruct", "vae_f8_z4_micro", "~/photos/a.png", "--out=~/b.png")
    run(capsys, "evaluate", "vae_f8_z4_micro", "--data=~/photos", "--size", 16, "--out=~/c.csv", "--nets")
    assert {path.name for path in home.iterdir()} == {"photos", "b.png", "c.csv"}


def test_photos_of_a_recipe_the_cache_and_the_lock_file(home, hub, saved, monkeypatch):
    assert [photo.name for photo in photos("~/photos")] == ["a.png"]
    hub.commit("alice/vae", saved)
    vaezoo.create("hf-hub:alice/vae", pretrained=True, cache_dir="~/cache")
    assert (home / "cache" / "models--alice--vae").is_dir()
    assert Hub(cache_dir=Path("~/cache")) == Hub(cache_dir=str(home / "cache"))
    monkeypatch.setenv(VARIABLE, "~/my.lock")
    assert lock_path() == home / "my.lock"


def test_every_path_among_the_arguments_of_commands_is_read_so():
    tools = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tools").glob("*.py")}
    assert [name for name, text in tools.items() if re.search(r"type=(pathlib\.)?Path\b", text)] == []
