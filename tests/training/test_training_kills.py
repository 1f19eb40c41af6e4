"""A run that is killed at any moment ends, once resumed, in the folder of one that was not interrupted."""

import os
import shutil
import subprocess
import sys

import pytest
from support.kills import content, every_third, rerun_after_kills
from support.representatives import first_of
from support.short_runs import prepare_training, same_times
from support.training import quiet, tiny_recipe

from vaezoo.cli import main
from vaezoo.errors import FileError
from vaezoo.io.folder_lock import folder_lock
from vaezoo.io.temporary import temporary_name
from vaezoo.training import start
from vaezoo.training.run import TrainingRun

PUBLISHED = ("config.json", "model.safetensors", "README.md")


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """Kill a short training at every change of the file system, or at some; returns how many were different."""
    same_times(monkeypatch)
    train = prepare_training(tmp_path)
    return lambda **chosen: rerun_after_kills(tmp_path / "run", train, **chosen)


@pytest.mark.slow
def test_a_run_killed_between_its_last_checkpoint_and_publishing_ends_as_if_it_had_not_been(interrupted):
    def before_published(events):
        last = max(i for i, event in enumerate(events) if "step_000000002.safetensors" in event)
        return [last, last + 4]

    assert interrupted(chosen=before_published) == 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_killed_at_changes_of_the_file_system_ends_as_if_it_had_not_been(interrupted):
    assert interrupted(chosen=every_third) > 15


def with_published(run, other, names):
    """Copy published files of another run folder."""
    for name in names:
        shutil.copy(other / name, run / name)


@pytest.mark.parametrize(
    "names", first_of([(PUBLISHED,), (PUBLISHED[1:2],), (PUBLISHED[:1],), (PUBLISHED[2:],)], count=2), ids="+".join
)
def test_a_published_folder_that_is_not_of_the_last_checkpoint_is_written_again(tmp_path, names, finished):
    run, stale, expected = tmp_path / "run", tmp_path / "a", tmp_path / "b"
    recipe = finished(run, "steps=2")
    shutil.copytree(run, expected)
    finished(stale, "steps=1")
    with_published(run, stale, names)
    quiet(recipe, run, resume=True)
    assert content(run) == content(expected)


def test_a_damaged_published_folder_is_written_again_from_the_checkpoint(tmp_path, finished):
    run, expected = tmp_path / "run", tmp_path / "b"
    recipe = finished(run, "steps=2")
    shutil.copytree(run, expected)
    (run / "model.safetensors").write_bytes(b"cut")
    quiet(recipe, run, resume=True)
    assert content(run) == content(expected)


def test_temporary_files_of_a_killed_run_are_removed_and_others_are_kept(tmp_path, finished):
    run = tmp_path / "run"
    recipe = finished(run, "steps=2")
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    mine = temporary_name(".safetensors")
    dead = mine.replace(str(os.getpid()), ended.stdout.strip())
    before = mine.replace(mine.split("-")[3], "0" * 8)  # a killed process that had the id of this one
    elsewhere = mine.replace(mine.split("-")[4], "0" * 8)  # another machine, which cannot have the lock
    for folder in (run, run / "checkpoints"):
        for name in (mine, dead, before, elsewhere):
            (folder / name).touch()
    (run / dead.removesuffix(".safetensors")).mkdir()
    quiet(recipe, run, resume=True)
    hidden = [path for path in run.rglob(".*") if path.name.startswith(".vaezoo-tmp")]
    assert sorted(hidden) == sorted([run / mine, run / "checkpoints" / mine])


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(start, "LOCK_TIMEOUT", 0)


def test_a_second_training_of_a_folder_is_refused(tmp_path, impatient, capsys):
    recipe, run = tiny_recipe(tmp_path, "steps=2"), tmp_path / "run"
    with folder_lock(run), pytest.raises(FileError, match=f"{run}: another process trains in this folder; wait until"):
        quiet(recipe, run)
    quiet(recipe, run)
    with folder_lock(run):
        assert main(["train", str(tmp_path / "recipe.yaml"), "--set=steps=2", "--out", str(run), "--resume"]) == 2
    assert "another process trains in this folder" in capsys.readouterr().err
    quiet(recipe, run, resume=True)


def test_a_training_that_was_started_while_another_one_prepared_itself_is_not_overwritten(tmp_path, monkeypatch):
    recipe, run, prepare = tiny_recipe(tmp_path, "steps=2"), tmp_path / "run", TrainingRun.__init__

    def slow(self, *arguments):
        prepare(self, *arguments)
        monkeypatch.setattr(TrainingRun, "__init__", prepare)
        quiet(recipe, run)

    monkeypatch.setattr(TrainingRun, "__init__", slow)
    with pytest.raises(FileError, match="already holds a run"):
        quiet(recipe, run)
