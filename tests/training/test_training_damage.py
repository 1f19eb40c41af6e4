"""Runs that go wrong keep what was good, and say what is wrong before they begin."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.checkout import ROOT
from support.training import CPU, quiet, steps_of, tiny_recipe, write_photos
from torch.utils.data import DataLoader

from vaezoo.data.batches import ignore_signals
from vaezoo.data.crops import CropDataset
from vaezoo.errors import FileError, SpecError, TrainingError
from vaezoo.training.log import Log
from vaezoo.training.loop import Stepper
from vaezoo.training.run import train


def test_weights_that_are_not_finite_take_no_checkpoints_place(tmp_path, monkeypatch):
    step = Stepper.step

    def diverge(self, batches):
        parts = step(self, batches)
        if self.state.progress.step == 4:
            with torch.no_grad():
                self.state.task.vae.decoder[0].weight.fill_(torch.inf)
        return parts

    monkeypatch.setattr(Stepper, "step", diverge)
    with pytest.raises(TrainingError, match=r"step 4: NaN or infinite weights in decoder\.0\.weight"):
        quiet(tiny_recipe(tmp_path, "keep=1", "discriminator=null"), tmp_path / "run")
    assert steps_of(tmp_path / "run") == [2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["discriminator.adaptive=true", "train=encoder"], r"discriminator\.adaptive: .* is not trained"),
        (["discriminator.layers=4"], "discriminator patchgan: takes no crops of 8"),
    ],
)
def test_a_discriminator_that_cannot_play_is_told_before_the_first_step(tmp_path, settings, message):
    with pytest.raises(SpecError, match=message):
        quiet(tiny_recipe(tmp_path, *settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_config_is_written_again_once_it_is_removed(tmp_path):
    run, recipe = tmp_path / "run", tiny_recipe(tmp_path, "steps=2", "discriminator=null")
    quiet(recipe, run)
    path = run / "config.json"
    before = path.read_text()
    for damaged in ("{", "[1]", "{}", before.replace('"groups": 4', '"groups": 2')):
        path.write_text(damaged)
        with pytest.raises(
            SpecError, match=r"config\.json: cannot be read .*; remove it, and --resume writes it again"
        ):
            quiet(recipe, run, resume=True)
    path.unlink()
    quiet(recipe, run, resume=True)
    assert path.read_text() == before
    path.unlink()
    network = Path(recipe.network)
    network.write_text(network.read_text().replace("groups: 4", "groups: 2"))
    with pytest.raises(SpecError, match=r"config\.json is missing, and .* is no longer the network of this run"):
        quiet(recipe, run, resume=True)


def test_a_pipe_among_photos_is_no_photo(tmp_path):
    recipe = tiny_recipe(tmp_path, "data.bad=refuse", "discriminator=null", "steps=4")
    os.mkfifo(write_photos(tmp_path / "photos") / "pipe.png")
    with pytest.raises(FileError, match=r"pipe\.png: is a named pipe"):
        quiet(recipe, tmp_path / "run")


@pytest.mark.parametrize("line", ["5", "[]", "null", '{"loss": 1}', '{"step": "x"}'])
def test_a_log_that_was_edited_is_told(tmp_path, line):
    (tmp_path / "log.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(FileError, match="remove this line"):
        Log(tmp_path, 1)


def test_workers_outlive_the_signals_that_end_a_run():
    loader = DataLoader(range(8), num_workers=1, worker_init_fn=ignore_signals)
    batches = iter(loader)
    found = [int(next(batches))]
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(batches._workers[0].pid, number)
    assert found + [int(batch) for batch in batches] == list(range(8))


def test_a_run_with_mostly_bad_photos_says_so_at_the_start_and_ends(tmp_path):
    recipe = tiny_recipe(tmp_path, "data.sizes=[16]", "discriminator=null")
    for index in range(1, 20):
        (tmp_path / "photos" / f"{index}.png").write_bytes(b"bad")
    told = []
    report = train(recipe, tmp_path / "run", CPU, on_message=told.append)
    assert report.progress.step == 6
    assert "19 of 20 sampled photos are bad" in told[0]


@pytest.mark.slow
def test_a_killed_worker_is_one_error_and_resuming_goes_on(tmp_path, monkeypatch):
    recipe, run = tiny_recipe(tmp_path, "data.workers=1", "discriminator=null"), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(CropDataset, "__getitem__", lambda crops, crop: os.kill(os.getpid(), signal.SIGKILL))
        with pytest.raises(TrainingError, match=r"^DataLoader worker .*; .*; --resume continues the run$"):
            quiet(recipe, run)
    assert quiet(recipe, run, resume=True).progress.step == recipe.steps


@pytest.mark.slow  # another process that imports torch, and its worker
def test_a_process_ends_although_workers_that_ignore_signals_are_left():
    code = (
        "import vaezoo.data.batches as b; from torch.utils.data import DataLoader\n"
        "b.Finalize(None, b.kill_workers, exitpriority=1)\n"
        "held = iter(DataLoader(range(8), num_workers=1, worker_init_fn=b.ignore_signals)); next(held)\n"
        "b.held = held  # as a traceback holds it"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=environment)
