"""Runs: what a folder holds, and what it says."""

import dataclasses
import json

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from support.training import assert_same, quiet, steps_of, tiny_recipe

import vaezoo
from vaezoo.cli import main
from vaezoo.errors import FileError, ImageError, SpecError
from vaezoo.evaluation.case_sheet import latent_colors
from vaezoo.io.captions import caption, reconstruction_caption
from vaezoo.io.read_image import read_picture
from vaezoo.io.resize_and_pad import resize_and_crop
from vaezoo.specs.catalog import sample_photos
from vaezoo.specs.parse import parse_yaml
from vaezoo.training import run as runs
from vaezoo.training.checkpoint import (
    checkpoints,
    read_tensors,
    unpack,
)
from vaezoo.training.log import Log, read_log
from vaezoo.training.recipes import check_recipe, read_recipe


def test_a_run_is_a_published_folder_with_its_recipe_log_and_grids(tmp_path):
    recipe = tiny_recipe(tmp_path, "grid_every=6")
    report = quiet(recipe, tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        *("README.md", "config.json", "model.safetensors"),
        *("recipe.yaml", "log.jsonl", "checkpoints", "grids", "lock"),
    }
    assert report.progress.step == 6
    assert report.stopped is None
    assert read_recipe(tmp_path / "run" / "recipe.yaml") == recipe
    vae = vaezoo.create(f"local-dir:{tmp_path / 'run'}", pretrained=True)
    assert len(vae.latent_stats.mean) == 2
    _, data = read_tensors(checkpoints(tmp_path / "run")[-1])
    average = unpack(data["ema"], read_tensors(checkpoints(tmp_path / "run")[-1])[0])
    assert_same(dict(vae.state_dict()), average)
    with Image.open(tmp_path / "run" / "grids" / "step_000000006.jpg") as picture:
        below = caption(reconstruction_caption(10.0), 128).shape[1]
        assert picture.size == (4 * 128 + 3 * 4, 4 * (128 + below) + 3 * 4)  # the fourth: latents


@pytest.mark.slow
def test_a_grid_ends_with_the_colours_of_the_latents(tmp_path):
    quiet(tiny_recipe(tmp_path, "grid_every=6", "validation.size=64"), tmp_path / "run")
    vae = vaezoo.create(f"local-dir:{tmp_path / 'run'}", pretrained=True)
    images = [vaezoo.to_tensor(resize_and_crop(read_picture(path), 64)) for path in sample_photos()[:4]]
    colors = latent_colors([vae.encode(x).mode().detach() for x in images])
    drawn = vaezoo.load_image(tmp_path / "run" / "grids" / "step_000000006.jpg")
    last, below = drawn[:, :, :, 3 * (128 + 4) :], caption(reconstruction_caption(10.0), 128).shape[1]
    for index, expected in enumerate(colors):
        shown = F.avg_pool2d(last[:, :, index * (128 + below + 4) :][:, :, :128], 16)  # a JPEG blurs colours
        torch.testing.assert_close(shown, F.avg_pool2d(expected, 4), rtol=0, atol=0.1)
    assert max(colors[0].std(dim=(2, 3)).flatten()) > 0.1


def test_every_step_has_a_line_with_losses_speed_and_learning_rate(tmp_path, finished):
    finished(tmp_path / "run")
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

    monkeypatch.setattr(runs.TrainingRun, "train", stop)
    with pytest.raises(InterruptedError):
        quiet(tiny_recipe(tmp_path), tmp_path / "run")
    assert vaezoo.create(f"local-dir:{tmp_path / 'run'}", pretrained=True).spec.name == "tiny"


def test_the_last_checkpoints_and_the_best_are_kept(tmp_path, monkeypatch):
    values, measured = iter([10.0, 30.0, 20.0, 20.0]), runs.evaluate
    monkeypatch.setattr(
        runs, "evaluate", lambda *a: dataclasses.replace(measured(*a), images={"psnr": (next(values),)})
    )
    quiet(tiny_recipe(tmp_path, "steps=4", "validation.every=1", "checkpoint_every=1", "keep=1"), tmp_path / "run")
    assert steps_of(tmp_path / "run") == [2, 4]
    assert read_tensors(checkpoints(tmp_path / "run")[-1])[1]["progress"]["best"] == 30.0


def test_a_folder_with_a_run_is_neither_begun_again_nor_resumed_by_another_recipe(tmp_path):
    recipe, run = tiny_recipe(tmp_path, "steps=2"), tmp_path / "run"
    with pytest.raises(FileError, match=r"no run to resume, because it has no recipe.yaml; start one without --resume"):
        quiet(recipe, run, resume=True)
    quiet(recipe, run)
    with pytest.raises(FileError, match="already holds a run; continue it with --resume"):
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


@pytest.mark.parametrize("damage", ["{", "", "[" * 100_000, "\0\0"], ids=["cut", "empty", "deep", "null"])
def test_a_damaged_line_hides_none_of_those_after_it(tmp_path, damage):
    (tmp_path / "log.jsonl").write_text(f'{{"step": 1}}\n{damage}\n{{"step": 2}}\n', encoding="utf-8")
    with pytest.raises(FileError, match=r"log\.jsonl: line 2 is damaged .*; remove this line"):
        read_log(tmp_path)
    (tmp_path / "log.jsonl").write_text(f'{{"step": 1}}\n{damage}', encoding="utf-8")
    assert read_log(tmp_path) == [{"step": 1}]


def test_a_log_goes_on_after_the_step_it_is_cut_back_to(tmp_path):
    log = Log(tmp_path, 0)
    for step in range(1, 5):
        log.add(step=step, loss=float("nan") if step == 2 else 1 / 3)
    Log(tmp_path, 2).add(step=3, loss=2.0)
    assert read_log(tmp_path) == [{"step": 1, "loss": 0.333333}, {"step": 2, "loss": None}, {"step": 3, "loss": 2.0}]


def test_a_start_that_fails_leaves_no_run_behind(tmp_path):
    recipe = tiny_recipe(tmp_path, "steps=2")
    wrong = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, root="nowhere"))
    with pytest.raises(FileError, match=r"data.root nowhere: no such file or folder"):
        quiet(wrong, tmp_path / "run")
    assert quiet(recipe, tmp_path / "run").progress.step == 2


def test_a_bad_validation_photo_is_told_by_its_path_before_the_first_step(tmp_path):
    (tmp_path / "judged").mkdir()
    (tmp_path / "judged" / "corrupt.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"judged/corrupt.png"):
        quiet(tiny_recipe(tmp_path, f"validation.root={tmp_path / 'judged'}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_card_of_a_run_says_how_it_was_trained_and_nothing_of_this_machine(tmp_path):
    recipe = tiny_recipe(tmp_path, "steps=3", "validation.every=1", f"validation.root={tmp_path / 'photos'}")
    quiet(recipe, tmp_path / "run")
    text = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    psnr = [line["psnr"] for line in read_log(tmp_path / "run") if "psnr" in line][-1]
    assert f"PSNR over photos at 32 pixels after step 3: {psnr:.2f} dB (protocol reconstruction-1)" in text
    shown = check_recipe(parse_yaml(text.split("```yaml\n")[2].split("```")[0], "card"))
    assert (shown.network, shown.data.root, shown.validation.root) == ("tiny.yaml", "photos", "photos")
    assert (shown.steps, shown.losses, shown.discriminator) == (3, recipe.losses, recipe.discriminator)
    assert str(tmp_path) not in text


def test_a_published_run_comes_back_from_the_hub_with_its_card(tmp_path, hub, monkeypatch):
    run = tmp_path / "run"
    quiet(tiny_recipe(tmp_path, "steps=2"), run)
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    assert main(["publish", str(run), "alice/vae", "--license", "mit"]) == 0
    files = hub.repos["alice/vae"].at("main").files
    assert set(files) == {".gitattributes", "README.md", "config.json", "model.safetensors", "reconstruction.jpg"}
    assert "2 of 2 steps by this recipe" in files["README.md"].decode()
    there, here = (vaezoo.create(name, pretrained=True) for name in ("hf-hub:alice/vae", f"local-dir:{run}"))
    assert_same(dict(there.state_dict()), dict(here.state_dict()))
    assert there.latent_stats == here.latent_stats
