"""Runs of an ablation that really train: judged, shown, made once, and gone on with after a kill."""

import os
import signal
import subprocess
import sys
import time

import pytest
from support.ablations import plan_of, write_question
from support.backbones import Colors
from support.training import environment, tiny_spec, write_photos

from vaezoo.ablation import run_worker as worker
from vaezoo.ablation.run_results import RESULT, read_result, read_table
from vaezoo.cli import main
from vaezoo.evaluation.nets import lpips
from vaezoo.io.files import make_folder, write_text
from vaezoo.io.folder_lock import folder_lock
from vaezoo.sharing.save import save
from vaezoo.training.artifacts import RECIPE
from vaezoo.training.log import read_log
from vaezoo.training.recipe_schema import ValidationConfig
from vaezoo.training.recipes import recipe_text
from vaezoo.training.run import TrainingRun
from vaezoo.zoo.create import create


def test_a_variant_is_judged_by_lpips_where_its_net_is_to_be_had(tmp_path, monkeypatch):
    monkeypatch.setitem(lpips.BACKBONES, "alex", Colors)
    how = ValidationConfig(root=str(write_photos(tmp_path / "photos")), size=32)
    row = worker.evaluate_run(create(tiny_spec()), how, ["lpips_alex"])
    assert row["lpips_alex"] > 0
    assert row["nets"] == "lpips_alex"


def test_a_worker_trains_judges_and_shows_and_does_nothing_twice(tmp_path):
    plan = plan_of(tmp_path)
    run, folder = plan.runs[1], make_folder(plan.folder_of(plan.runs[1]))
    write_text(folder / RECIPE, recipe_text(run.recipe))
    assert worker.main([str(folder), "--device", "cpu"]) == 0
    result = read_result(folder)
    assert result["steps"] == 2
    assert len(result["latent_std"]) == 3
    assert 3 < result["psnr"] < 30
    assert result["images"] == 5
    assert {path.name for path in folder.glob("*.png")} == {
        f"{n}_{i}.png" for n in ("input", "output") for i in range(4)
    }
    assert [line["step"] for line in read_log(folder / "train") if "psnr" in line] == [1, 2]
    written = (folder / RESULT).stat().st_mtime_ns
    assert worker.main([str(folder)]) == 0
    assert (folder / RESULT).stat().st_mtime_ns == written
    with folder_lock(folder):
        assert worker.main([str(folder)]) == worker.LOCKED


@pytest.mark.slow
def test_a_run_is_evaluated_by_its_checkpoint_and_not_by_a_stale_published_folder(tmp_path, monkeypatch):
    plan = plan_of(tmp_path)
    run, folder = plan.runs[1], make_folder(plan.folder_of(plan.runs[1]))
    write_text(folder / RECIPE, recipe_text(run.recipe))
    assert worker.main([str(folder), "--device", "cpu"]) == 0
    expected = read_result(folder)
    (folder / RESULT).unlink()
    save(create(run.variant.spec), folder / "train")
    monkeypatch.setattr(TrainingRun, "open", lambda self: None)  # which would write it again
    assert worker.main([str(folder), "--device", "cpu"]) == 0
    assert read_result(folder) == expected


def ablate(question, out, *more):
    command = [sys.executable, "-m", "vaezoo.cli", "ablate", str(question), "--out", str(out), *more]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_ablation_that_is_killed_goes_on_and_ends_in_a_report(tmp_path):
    """Two processes on one folder; the first is killed with its worker, the second takes all over."""
    smaller = {"steps": "12", "grid": "{latent.channels: [2, 3]}"}
    plan, question = plan_of(tmp_path, **smaller), write_question(tmp_path, **smaller)
    first = ablate(question, plan.folder)
    while not (plan.folder_of(plan.runs[0]) / "train" / "checkpoints").is_dir():
        assert first.poll() is None, first.stdout.read()
        time.sleep(0.1)
    children = subprocess.run(
        ["ps", "--ppid", str(first.pid), "-o", "pid="], capture_output=True, text=True, check=True
    )
    first.kill()
    for child in children.stdout.split():
        os.kill(int(child), signal.SIGKILL)
    first.communicate()
    second, third = ablate(question, plan.folder), ablate(question, plan.folder)
    for process in (second, third):
        said = process.communicate(timeout=600)[0]
        assert process.returncode == 0, said
    rows = read_table(plan.folder)
    assert len(rows) == 4
    assert not any(row["error"] for row in rows)
    assert all(float(row["psnr"]) > 3 for row in rows)
    assert "resumed from step" in (plan.folder_of(plan.runs[0]) / "output.txt").read_text()
    page = (plan.folder / "report.html").read_text(encoding="utf-8")
    assert "has the highest PSNR" in page
    assert page.count("data:image/png") == 4 * 3
    last = ablate(question, plan.folder)
    assert "4 runs, 4 done before" in last.communicate(timeout=100)[0]


@pytest.mark.slow
def test_variants_that_share_a_seed_see_the_same_crops_and_a_run_is_what_train_makes(tmp_path):
    from safetensors.torch import load_file
    from support.training import assert_same, loader_of

    plan = plan_of(tmp_path)
    runs = [run for run in plan.runs if run.seed == 1]
    batches = [[batch.pixels for batch in loader_of(run.recipe)] for run in runs]
    for other in batches[1:]:
        assert all((a == b).all() for a, b in zip(batches[0], other, strict=True))
    folder = make_folder(plan.folder_of(runs[1]))
    write_text(folder / RECIPE, recipe_text(runs[1].recipe))
    assert worker.main([str(folder), "--device", "cpu"]) == 0
    assert main(["train", str(folder / RECIPE), "--out", str(tmp_path / "again"), "--device", "cpu"]) == 0
    assert_same(*(load_file(path / "model.safetensors") for path in (folder / "train", tmp_path / "again")))
