"""Runs: what a folder holds, and how one goes on after whatever ended it."""

import dataclasses
import json
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from training import CPU, assert_same, command, environment, tensors_of, tiny_recipe, train, write_recipe

import vaezoo
from vaezoo.errors import CheckpointError, FileError, SpecError
from vaezoo.evaluation.pictures import latent_colors
from vaezoo.images import read_picture, resize_and_crop
from vaezoo.specs.catalog import sample_photos
from vaezoo.training import run as runs
from vaezoo.training.checkpoint import checkpoints, pack, read_tensors, step_of, unpack, write_tensors
from vaezoo.training.log import Log, read_log


def quiet(recipe, folder, resume=False):
    return runs.train(recipe, folder, CPU, resume, say=lambda text: None)


def steps_of(run):
    return [step_of(path) for path in checkpoints(run)]


def test_a_run_is_a_published_folder_with_its_recipe_log_and_grids(tmp_path):
    recipe = tiny_recipe(tmp_path, "grid_every=6")
    report = quiet(recipe, tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        *("README.md", "config.json", "model.safetensors"),
        *("recipe.yaml", "log.jsonl", "checkpoints", "grids"),
    }
    assert report.progress.step == 6
    assert report.stopped is None
    assert runs.read_recipe(tmp_path / "run" / "recipe.yaml") == recipe
    vae = vaezoo.create(f"local-dir:{tmp_path / 'run'}", pretrained=True)
    assert len(vae.latent_stats.mean) == 2
    _, data = read_tensors(checkpoints(tmp_path / "run")[-1])
    average = unpack(data["ema"], read_tensors(checkpoints(tmp_path / "run")[-1])[0])
    assert_same(dict(vae.state_dict()), average)
    with Image.open(tmp_path / "run" / "grids" / "step_000000006.jpg") as picture:
        assert picture.size == (4 * 32 + 3 * 4, 4 * 32 + 3 * 4)  # the fourth: latents


def test_a_grid_ends_with_the_colours_of_the_latents(tmp_path):
    quiet(tiny_recipe(tmp_path, "grid_every=6", "validation.size=64"), tmp_path / "run")
    vae = vaezoo.create(f"local-dir:{tmp_path / 'run'}", pretrained=True)
    images = [vaezoo.to_tensor(resize_and_crop(read_picture(path), 64)) for path in sample_photos()[:4]]
    colors = latent_colors([vae.encode(x).mode().detach() for x in images])
    drawn = vaezoo.load_image(tmp_path / "run" / "grids" / "step_000000006.jpg")
    last = drawn[:, :, :, 3 * (64 + 4) :]
    for index, expected in enumerate(colors):
        shown = F.avg_pool2d(last[:, :, index * (64 + 4) :][:, :, :64], 8)  # a JPEG blurs colours
        torch.testing.assert_close(shown, F.avg_pool2d(expected, 4), rtol=0, atol=0.1)
    assert max(colors[0].std(dim=(2, 3)).flatten()) > 0.1


def test_every_step_has_a_line_with_losses_speed_and_learning_rate(tmp_path):
    quiet(tiny_recipe(tmp_path), tmp_path / "run")
    lines = [json.loads(text) for text in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    for line in steps:
        parts = line["l1"] + 1e-6 * line["kl"] + line.get("adversarial_weight", 0) * line.get("adversarial", 0)
        assert line["loss"] == pytest.approx(parts, rel=1e-4)
        assert {"lr", "grad_norm", "images_per_second", "data_wait", "size", "skipped", "bad_pictures"} <= line.keys()
    assert ["discriminator_loss" in line for line in steps] == [False, False, True, True, True, True]
    assert lines[-1].keys() == {"step", "psnr", "latent_std", "posterior_std"}


def test_a_new_run_can_be_loaded_before_its_first_checkpoint(tmp_path, monkeypatch):
    def stop(self):
        raise InterruptedError

    monkeypatch.setattr(runs.Run, "go", stop)
    with pytest.raises(InterruptedError):
        quiet(tiny_recipe(tmp_path), tmp_path / "run")
    assert vaezoo.create(f"local-dir:{tmp_path / 'run'}", pretrained=True).spec.name == "tiny"


def test_the_last_checkpoints_and_the_best_are_kept(tmp_path, monkeypatch):
    values, measured = iter([10.0, 30.0, 20.0, 20.0, 20.0, 20.0]), runs.evaluate
    monkeypatch.setattr(
        runs, "evaluate", lambda *a: dataclasses.replace(measured(*a), images={"psnr": (next(values),)})
    )
    quiet(tiny_recipe(tmp_path, "validation.every=1", "checkpoint_every=1", "keep=2"), tmp_path / "run")
    assert steps_of(tmp_path / "run") == [2, 5, 6]
    assert read_tensors(checkpoints(tmp_path / "run")[-1])[1]["progress"]["best"] == 30.0


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


def test_sigterm_saves_and_ends_the_run(tmp_path):
    recipe, run = write_recipe(tmp_path), tmp_path / "run"
    arguments = [recipe, "--out", run, "--set=steps=100000", "--set=checkpoint_every=100000"]
    process = subprocess.Popen(command(*arguments), env=environment(), stdout=subprocess.PIPE, text=True)
    wait_for_step(run, 3)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stopped by SIGTERM, and saved: go on with --resume" in said
    (step,) = steps_of(run)
    assert read_log(run)[-1]["step"] == step
    assert vaezoo.create(f"local-dir:{run}", pretrained=True).spec.name == "tiny"


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path):
    recipe, run = tiny_recipe(tmp_path, "steps=4"), tmp_path / "run"
    quiet(recipe, run)
    before = {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    code = (
        "import resource, sys\n"
        "from vaezoo.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"  # as if the disk were full: no file may grow
        "sys.exit(main(['train', *sys.argv[1:]]))"
    )
    arguments = [str(tmp_path / "recipe.yaml"), "--out", str(run), "--resume", "--set=steps=6"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=environment(), capture_output=True, text=True)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "step_000000006.safetensors: cannot be written" in done.stderr
    after = {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    assert after == before
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20_000
    quiet(tiny_recipe(tmp_path), run, resume=True)
    assert steps_of(run)[-1] == 6


def test_a_damaged_checkpoint_is_told_and_the_one_before_serves(tmp_path):
    recipe, run = tiny_recipe(tmp_path, "keep=9"), tmp_path / "run"
    quiet(recipe, run)
    last = checkpoints(run)[-1]
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(
        CheckpointError, match=r"step_000000006.safetensors: damaged .*; remove it to go on from the one"
    ):
        quiet(recipe, run, resume=True)
    last.unlink()
    quiet(recipe, run, resume=True)
    assert steps_of(run) == [2, 4, 6]


def test_a_folder_with_a_run_is_neither_begun_again_nor_resumed_by_another_recipe(tmp_path):
    recipe, run = tiny_recipe(tmp_path, "steps=2"), tmp_path / "run"
    with pytest.raises(FileError, match=r"no run to resume, there is no recipe.yaml in it; leave --resume out"):
        quiet(recipe, run, resume=True)
    quiet(recipe, run)
    with pytest.raises(FileError, match="holds a run already; --resume goes on with it"):
        quiet(recipe, run)
    with pytest.raises(SpecError, match=r"cannot be resumed with another recipe \(seed was 0, is 1\)"):
        quiet(tiny_recipe(tmp_path, "steps=2", "seed=1"), run, resume=True)


def test_a_run_can_begin_from_another_ones_weights(tmp_path):
    quiet(tiny_recipe(tmp_path, "steps=2"), tmp_path / "first")
    name = f"local-dir:{tmp_path / 'first'}"
    more = (f"network={json.dumps(name)}", "pretrained=true", "optimizer.lr=0", "optimizer.weight_decay=0", "steps=1")
    quiet(tiny_recipe(tmp_path, *more, "discriminator=null"), tmp_path / "second")
    first, second = (vaezoo.create(f"local-dir:{tmp_path / run}", pretrained=True) for run in ("first", "second"))
    assert_same(dict(first.state_dict()), dict(second.state_dict()))


def test_bad_pictures_are_counted_in_log_and_report(tmp_path):
    recipe = tiny_recipe(tmp_path)
    (tmp_path / "photos" / "corrupt.png").write_bytes(b"no picture")
    report = quiet(recipe, tmp_path / "run")
    assert [text.partition(": ")[0] for text in report.progress.bad] == [str(tmp_path / "photos" / "corrupt.png")]
    assert [line["bad_pictures"] for line in read_log(tmp_path / "run") if "loss" in line][-1] == 1


def test_any_nested_data_comes_back_from_a_checkpoint(tmp_path):
    data = {0: {"step": torch.tensor(3.0), "empty": [], "pair": (1, None, "x")}, "list": [torch.arange(3), True, 0.1]}
    tensors = {}
    write_tensors(tensors, {"format": 1, "data": pack(data, "data", tensors)}, tmp_path / "file.safetensors")
    tensors, said = read_tensors(tmp_path / "file.safetensors")
    found = unpack(said["data"], tensors)
    assert torch.equal(found[0].pop("step"), data[0].pop("step"))
    assert torch.equal(found["list"].pop(0), data["list"].pop(0))
    assert found == data
    with pytest.raises(CheckpointError, match=r"data.odd: a object cannot be put into a checkpoint"):
        pack({"odd": object()}, "data", {})


def test_a_log_goes_on_after_the_step_it_is_cut_back_to(tmp_path):
    log = Log(tmp_path, 0)
    for step in range(1, 5):
        log.add(step=step, loss=float("nan") if step == 2 else 1 / 3)
    Log(tmp_path, 2).add(step=3, loss=2.0)
    assert read_log(tmp_path) == [{"step": 1, "loss": 0.333333}, {"step": 2, "loss": None}, {"step": 3, "loss": 2.0}]
