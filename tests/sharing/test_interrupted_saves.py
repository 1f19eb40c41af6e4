"""A folder loads as the old or the new model while a save replaces it, and after a save that was killed."""

import os
import shutil
import threading
from functools import partial
from itertools import count

import pytest
import torch
from support.kills import CHANGES, content, killed_at
from support.tiny_pipeline import LDM, small

import vaezoo
from vaezoo.adapters.diffusers_export import diffusers_config, replace_export
from vaezoo.sharing.save import write_folder

FILES = ["README.md", "config.json", "model.safetensors"]


@pytest.fixture
def models():
    """Two models of other networks and statistics, so that a mixture cannot pass for one of them."""
    old, new = (vaezoo.create("vae_f8_z4_micro", overrides={"latent.channels": size}) for size in (4, 6))
    old.latent_stats, new.latent_stats = (vaezoo.LatentStats(scale=scale, shift=0.0) for scale in (0.5, 2.0))
    return old, new


def load(folder):
    return vaezoo.create(f"local-dir:{folder}", pretrained=True)


def same(a, b):
    if a.spec != b.spec or a.latent_stats != b.latent_stats:
        return False
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def check_kills(old, new, tmp_path, events, config=None, step=1):
    """Kill a save of `new` over `old` at every step-th event; returns each time whether the new model is there."""
    write_folder(old, tmp_path / "old", "card")
    expected = content(write_folder(new, tmp_path / "new", "card", config))
    folder, found = tmp_path / "folder", []
    for event in count(step=step):
        shutil.copytree(tmp_path / "old", folder)
        killed = killed_at(event, lambda: write_folder(new, folder, "card", config), events)
        loaded = load(folder)
        found.append(same(loaded, new))
        assert found[-1] or same(loaded, old), event
        if not killed:
            return found
        write_folder(new, folder, "card", config)
        assert content(folder) == expected  # and nothing is left of the killed save
        shutil.rmtree(folder)
    raise AssertionError


def test_a_save_killed_before_a_rename_leaves_the_old_or_the_new_model(models, tmp_path):
    found = check_kills(*models, tmp_path, ("os.rename",), step=6)
    assert found == [False, True, True]  # before the first and the seventh of seven, and not at all


@pytest.mark.slow
def test_a_save_killed_before_any_change_of_the_file_system_leaves_the_old_or_the_new_model(models, tmp_path):
    found = check_kills(*models, tmp_path, CHANGES)
    assert found == sorted(found)
    assert len(found) > 10


@pytest.mark.slow
def test_a_killed_save_with_an_export_leaves_the_old_or_the_new_model(tmp_path):
    old, new = small(tmp_path, LDM, scale=0.5), small(tmp_path, LDM, scale=2.0)
    found = check_kills(old, new, tmp_path, CHANGES, diffusers_config(new))
    assert found == sorted(found)
    assert len(found) > 10


@pytest.mark.parametrize("same_config", [False, True])
def test_a_killed_export_is_never_of_two_models(tmp_path, same_config):
    old = {"config.json": b"old", "w": b"old"}
    new = {"config.json": b"old" if same_config else b"new", "w": b"new"}
    found, killed = [], True
    while killed:
        for name, files in (("folder", old), ("new", new)):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
            (tmp_path / name).mkdir()
            for file, data in files.items():
                (tmp_path / name / file).write_bytes(data)
        export = partial(replace_export, tmp_path / "new", tmp_path / "folder", "w")
        killed = killed_at(len(found), export, ("os.rename", "os.remove"))
        found.append(content(tmp_path / "folder"))
    assert all(files in (old, new) or "config.json" not in files for files in found)
    assert ("config.json" in found[1]) == same_config
    assert found[-1] == new


@pytest.mark.parametrize("saves", [5, pytest.param(15, marks=pytest.mark.slow)])
def test_a_reader_is_never_refused_during_saves(models, tmp_path, saves):
    old, new = models
    vaezoo.save(old, tmp_path)
    ended = threading.Event()

    def save_often():
        for number in range(saves):
            write_folder(models[(number + 1) % 2], tmp_path, "card")
        ended.set()

    saver = threading.Thread(target=save_often)
    saver.start()
    while not ended.is_set():
        loaded = load(tmp_path)
        assert same(loaded, old) or same(loaded, new)
    saver.join()
    assert same(load(tmp_path), new)


def test_leftovers_of_a_living_save_are_kept(models, tmp_path, monkeypatch):
    from vaezoo.sharing import save as saving

    old, new = models
    real = saving.config_text

    def save_another_first(*arguments):
        monkeypatch.setattr(saving, "config_text", real)
        vaezoo.save(old, tmp_path)
        return real(*arguments)

    monkeypatch.setattr(saving, "config_text", save_another_first)
    vaezoo.save(new, tmp_path)
    assert same(load(tmp_path), new)
    assert sorted(os.listdir(tmp_path)) == FILES
