"""What a checkpoint keeps, and how a run goes on after whatever ended it."""

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace

import pytest
import torch
from support.disk import full_disk
from support.training import (
    CPU,
    assert_same,
    command,
    environment,
    quiet,
    steps_of,
    tensors_of,
    tiny_recipe,
    tiny_spec,
    train,
    write_recipe,
)

import vaezoo
from vaezoo.errors import CheckpointError, FileError, SpecError
from vaezoo.io.tensor_file import write_tensors
from vaezoo.nn.build import build
from vaezoo.training import run as runs
from vaezoo.training.checkpoint import (
    KEY,
    checkpoints,
    pack,
    read_tensors,
    restore_checkpoint,
    save_checkpoint,
    unpack,
)
from vaezoo.training.log import read_log
from vaezoo.training.start import begin


def test_a_resumed_run_has_every_tensor_of_one_that_was_not_interrupted(tmp_path, finished):
    whole, part = tmp_path / "whole", tmp_path / "part"
    recipe = finished(whole, "keep=9")
    shutil.copytree(whole, part)
    (part / "checkpoints" / "step_000000006.safetensors").unlink()
    with_worker = replace(recipe, data=replace(recipe.data, workers=1))
    quiet(with_worker, part, resume=True)  # who reads the photos may change
    expected, found = (tensors_of(run, 6) for run in (whole, part))
    for what in ("task.vae.", "task.adversary.", "ema.", "optimizers.vae.", "optimizers.discriminator.", "random."):
        assert any(name.startswith(what) for name in expected), what
    assert_same(expected, found)


def test_a_checkpoint_brings_the_random_state_back(tmp_path):
    state = begin(build(tiny_spec()), tiny_recipe(tmp_path), CPU.device)
    save_checkpoint(state, tmp_path, 1, CPU)
    expected = torch.rand(3)
    torch.manual_seed(99)
    restore_checkpoint(state, checkpoints(tmp_path)[0], CPU)
    assert torch.equal(torch.rand(3), expected)


def resumed_from(text: str) -> int:
    (line,) = [line for line in text.splitlines() if "resumed from step" in line]
    return int(line.rpartition(" ")[2])


SETTINGS = [
    "precision=bf16",
    "channels_last=true",
    "data.workers=1",
    "accumulate=2",
    "keep=100",
    "steps=24",
    "checkpoint_every=4",
]


OPTIONS = [f"--set={setting}" for setting in SETTINGS]


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path):
    recipe, whole, killed = write_recipe(tmp_path), tmp_path / "whole", tmp_path / "killed"
    train(recipe, "--out", whole, *OPTIONS)
    process = subprocess.Popen(command(recipe, "--out", killed, *OPTIONS), env=environment(), stdout=subprocess.DEVNULL)
    wait_for_step(killed, 6)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with (killed / "log.jsonl").open("a") as file:
        file.write('{"step": 99, "loss": 1}\n{"step": 5, "lo')  # a later line, and one cut off
    step = steps_of(killed)[-1]
    assert 4 <= step < 24
    assert resumed_from(train(recipe, "--out", killed, "--resume", *OPTIONS)) == step
    assert steps_of(whole)[-1] == 24
    assert_same(tensors_of(whole, 24), tensors_of(killed, 24))
    assert (whole / "model.safetensors").read_bytes() == (killed / "model.safetensors").read_bytes()
    assert (whole / "config.json").read_bytes() == (killed / "config.json").read_bytes()
    a, b = (
        [{k: v for k, v in x.items() if k in ("step", "loss", "psnr")} for x in read_log(f)] for f in (whole, killed)
    )
    assert a == b


def wait_for_step(run, step, seconds=120):
    """Until the log of a run has this step; the run is slowed down by nothing, so it may be further."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if any(line["step"] >= step for line in read_log(run)):
            return
        time.sleep(0.01)
    pytest.fail(f"{run} did not come to step {step}")


def test_sigterm_saves_after_the_step_at_hand_and_ends_the_run(tmp_path):
    recipe, run = tiny_recipe(tmp_path, "checkpoint_every=100"), tmp_path / "run"
    before = signal.getsignal(signal.SIGTERM)

    def stop(line):
        if line["step"] == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    report = runs.train(recipe, run, CPU, on_message=[].append, on_log=stop)
    assert report.stopped == "SIGTERM"
    assert steps_of(run) == [report.progress.step]
    assert 3 <= report.progress.step < recipe.steps
    assert signal.getsignal(signal.SIGTERM) is before
    assert quiet(recipe, run, resume=True).progress.step == recipe.steps


@pytest.mark.slow
def test_sigterm_saves_and_ends_the_command(tmp_path):
    recipe, run = write_recipe(tmp_path), tmp_path / "run"
    arguments = [recipe, "--out", run, "--set=steps=100000", "--set=checkpoint_every=100000"]
    process = subprocess.Popen(command(*arguments), env=environment(), stdout=subprocess.PIPE, text=True)
    wait_for_step(run, 3)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stopped by SIGTERM, and saved: continue with --resume" in said
    (step,) = steps_of(run)
    assert read_log(run)[-1]["step"] == step
    assert vaezoo.create(f"local-dir:{run}", pretrained=True).spec.name == "tiny"


@pytest.mark.parametrize(
    "name", ["checkpoints/step_000000006.safetensors", pytest.param("model.safetensors", marks=pytest.mark.slow)]
)
def test_a_full_disk_leaves_the_last_good_checkpoint_and_names_the_file_that_has_no_space(tmp_path, name):
    recipe, run = tiny_recipe(tmp_path, "steps=4"), tmp_path / "run"
    quiet(recipe, run)
    model = (run / "model.safetensors").stat().st_size
    before = {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    assert all(len(content) > model + 1000 for content in before.values())
    limit = model - 1000 if name == "model.safetensors" else model + 1000
    with full_disk(limit), pytest.raises(FileError) as raised:
        quiet(tiny_recipe(tmp_path, "steps=6"), run, resume=True)
    assert str(raised.value).startswith(f"{run / name}: cannot be written (")
    assert "File too large" in str(raised.value)
    after = {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    assert after == before
    quiet(tiny_recipe(tmp_path), run, resume=True)
    assert steps_of(run)[-1] == 6


def test_a_damaged_checkpoint_is_told_and_the_one_before_serves(tmp_path, finished):
    run = tmp_path / "run"
    recipe = finished(run, "keep=9")
    last = checkpoints(run)[-1]
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(
        CheckpointError, match=r"step_000000006.safetensors: damaged .*; remove it to continue from the one"
    ):
        quiet(recipe, run, resume=True)
    last.unlink()
    quiet(recipe, run, resume=True)
    assert steps_of(run) == [2, 4, 6]


def test_a_run_whose_checkpoints_are_gone_does_not_begin_anew_over_its_weights(tmp_path, finished):
    run = tmp_path / "run"
    recipe = finished(run)
    weights = (run / "model.safetensors").read_bytes()
    for path in checkpoints(run):
        path.unlink()
    with pytest.raises(FileError, match="its log goes to step 6, but it has no checkpoints"):
        quiet(recipe, run, resume=True)
    assert (run / "model.safetensors").read_bytes() == weights


def test_a_run_does_not_go_back_to_fewer_steps_than_it_has_made(tmp_path, finished):
    run = tmp_path / "run"
    recipe = finished(run)
    with pytest.raises(SpecError, match="already at step 6, past the 4 steps of the recipe"):
        quiet(replace(recipe, steps=4), run, resume=True)
    assert "steps: 6" in (run / "recipe.yaml").read_text()


@pytest.mark.slow
def test_more_steps_that_raise_the_rate_again_are_said_and_the_old_end_can_be_kept(tmp_path):
    run, said, constant = tmp_path / "run", [], "schedule={name: cosine, end: 0.1}"
    quiet(tiny_recipe(tmp_path, constant, "steps=4"), run)
    kept = tmp_path / "kept"
    shutil.copytree(run, kept)
    runs.train(tiny_recipe(tmp_path, constant, "steps=8"), run, CPU, True, said.append)
    assert said[1] == (
        f"{run}: the learning rate of the next step is 0.0055 instead of 0.001, because the schedule cosine now ends "
        "at step 8 and not at 4; --set schedule.steps=4 keeps the old end"
    )
    assert read_log(run)[-2]["lr"] < 0.0055
    said.clear()
    recipe = tiny_recipe(tmp_path, constant, "schedule.steps=4", "steps=8")
    runs.train(recipe, kept, CPU, True, said.append)
    assert said == [f"{kept}: resumed from step 4"]
    assert [line["lr"] for line in read_log(kept) if "lr" in line][4:] == [0.001] * 4
    assert "steps" not in tiny_recipe(tmp_path, constant).to_dict()["schedule"]  # hashes stay what they were


def test_any_nested_data_comes_back_from_a_checkpoint(tmp_path):
    data = {0: {"step": torch.tensor(3.0), "empty": [], "pair": (1, None, "x")}, "list": [torch.arange(3), True, 0.1]}
    tensors = {}
    said = json.dumps({"format": 1, "data": pack(data, "data", tensors)})
    write_tensors(tensors, tmp_path / "file.safetensors", {KEY: said})
    tensors, said = read_tensors(tmp_path / "file.safetensors")
    found = unpack(said["data"], tensors)
    assert torch.equal(found[0].pop("step"), data[0].pop("step"))
    assert torch.equal(found["list"].pop(0), data["list"].pop(0))
    assert found == data
    with pytest.raises(CheckpointError, match=r"data.odd: a checkpoint cannot contain a object"):
        pack({"odd": object()}, "data", {})
