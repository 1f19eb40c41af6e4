"""Runs of an ablation: each a process, made once, and none that takes others with it."""

import errno
import os
import signal

import pytest
import torch
from support.ablations import plan_of, pretend, write_question
from support.representatives import first_of

from vaezoo.ablation import run_worker
from vaezoo.ablation import runs as schedule
from vaezoo.ablation.run_results import RESULT, read_table, rows_of
from vaezoo.ablation.run_worker import is_temporary
from vaezoo.ablation.runs import RunOptions, make_runs
from vaezoo.cli import main
from vaezoo.errors import FileError
from vaezoo.io.files import make_folder, write_text
from vaezoo.io.folder_lock import folder_lock
from vaezoo.jobs.job_engine import Engine

FAKE = """\
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
(folder / "began").write_text(" ".join(sys.argv[2:]) + "|" + os.environ.get("RANK", "none"))
ACTION
(folder / "ended").touch()
(folder / "new.json").write_text(json.dumps({"psnr": 20.0}))
(folder / "new.json").rename(folder / "result.json")
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Put a script in the place of the worker; `action` is what it does `where` (the run is of `channels3`)."""

    def put(action="pass", where="if 'channels: 3' in (folder / 'recipe.yaml').read_text():"):
        (tmp_path / "fake_worker.py").write_text(FAKE.replace("ACTION", f"{where} {action}"), encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(schedule, "WORKER", "fake_worker")
        return plan_of(tmp_path)

    return put


def began(plan):
    return [run for run in plan.runs if (plan.folder_of(run) / "began").exists()]


def test_each_run_is_made_once_and_some_at_a_time(fake, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    plan, said = fake("time.sleep(0.01)", "while len(list(folder.parent.glob('*/began'))) < 6:"), []
    assert make_runs(plan, RunOptions(Engine(jobs=6), nets=("a", "b")), said.append) is None
    assert began(plan) == list(plan.runs)
    assert (plan.folder_of(plan.runs[0]) / "began").read_text() == "--nets a b|none"
    assert len(read_table(plan.folder)) == 6
    for run in plan.runs[:2]:
        (plan.folder_of(run) / "began").unlink()
    (plan.folder_of(plan.runs[1]) / RESULT).unlink()
    fake()  # a worker that waits for nobody
    make_runs(plan, RunOptions(), said.append)
    assert plan.runs[0] not in began(plan)
    assert plan.runs[1] in began(plan)
    assert "6 runs, 5 done before" in said


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ("raise RuntimeError('out of memory')", "RuntimeError: out of memory"),
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL", marks=pytest.mark.slow),
        pytest.param("sys.exit(3)", "exit status 3", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_ends_badly_costs_itself_and_says_why(action, error, fake):
    plan, said = fake(action), []
    make_runs(plan, RunOptions(Engine(jobs=6)), said.append)
    rows = rows_of(plan)
    assert {row["name"]: row["error"] for row in rows} == {
        "tiny": None,
        "tiny+channels3": error,
        "tiny+channels4": None,
    }
    assert len(rows) == 6
    assert sum(f"failed: {error}" in line for line in said) == 2


def test_runs_that_another_process_makes_are_left_to_it(fake):
    plan, said = fake("sys.exit(75)"), []
    with folder_lock(plan.folder_of(plan.runs[0])):
        make_runs(plan, RunOptions(Engine(jobs=6)), said.append)
    assert plan.runs[0] not in began(plan)
    assert "tiny, seed 0: another process is making it" in said
    assert len(rows_of(plan)) == 3  # nor is there a row for what another process was faster with
    assert sum("another process is making it" in line for line in said) == 3


def test_a_signal_ends_the_runs_at_hand_and_begins_no_other(fake):
    plan, said = fake("time.sleep(60)"), []

    def say(text):
        said.append(text)
        if len(rows_of(plan)) == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    assert make_runs(plan, RunOptions(Engine(jobs=2)), say) == "SIGTERM"
    assert len(rows_of(plan)) == 1
    assert any("channels3, seed 0: stopped" in line for line in said)


def test_ctrl_c_that_reaches_a_worker_too_early_is_no_failure(fake):
    plan, said = fake("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"), []
    make_runs(plan, RunOptions(Engine(jobs=6)), said.append)
    assert not any(row["error"] for row in rows_of(plan))
    assert sum(line.endswith("channels3, seed 0: stopped") for line in said) == 1


def test_who_is_slower_leaves_what_the_run_has_said(fake):
    plan = fake("print('more', flush=True)", "if True:")
    folder = make_folder(plan.folder_of(plan.runs[0]))
    write_text(folder / "output.txt", "said before\n")
    make_runs(plan, RunOptions(Engine(jobs=6)), lambda text: None)
    assert (folder / "output.txt").read_text() == "said before\nmore\n"


def test_a_run_without_a_finite_psnr_stops_nobody(fake):
    plan, said = fake("(folder / 'result.json').write_text('{\"psnr\": null}'); sys.exit(0)"), []
    make_runs(plan, RunOptions(Engine(jobs=6)), said.append)
    assert sum("no finite PSNR" in line for line in said) == 2
    assert len(rows_of(plan)) == 6


def test_costs_alone_are_one_command(tmp_path, capsys):
    arguments = ["vae_f8_z4_micro", "--set", "latent.channels=4,8", "--set", "encoder.4.heads=0,1", "--sizes", "64"]
    assert main(["ablate", *arguments, "--out", str(tmp_path), "--no-report"]) == 0
    said = capsys.readouterr().out
    assert "vae_f8_z4_micro+channels8,heads0" in said
    assert "takes the fewest GMACs at 64x64" in said
    assert [row["name"] for row in read_table(tmp_path)][:2] == ["vae_f8_z4_micro", "vae_f8_z4_micro+channels4,heads0"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--jobs", "0"], "--jobs 0: expected 1 or more"),
        (["--train-set", "steps=3"], "name one with --train"),
        (["--steps", "3"], "--steps: steps: nothing is trained without a recipe"),
        (["--train", "quickstart", "--device", "cuda:99"], "device cuda:99: PyTorch cannot use it here"),
        (["--set", "encoder.4.heads=5"], "heads 5 does not divide"),
    ],
)
def test_wrong_options_are_told(arguments, words, tmp_path, capsys):
    base = ["ablate", "vae_f8_z4_micro", "--set", "latent.channels=8", "--out", str(tmp_path)]
    assert main([*base, *arguments]) == 2
    assert words in capsys.readouterr().err


def test_options_overrule_a_file(fake, tmp_path):
    plan, question = fake(), str(write_question(tmp_path))
    more = ["--steps", "7", "--seeds", "5", "--train-set", "optimizer.lr=0.5"]
    assert main(["ablate", question, "--out", str(plan.folder), "--no-report", "--jobs", "6", *more]) == 0
    (recipe,) = {
        path.read_text() for path in plan.folder.glob("runs/*/recipe.yaml") if "overrides" not in path.read_text()
    }
    assert "steps: 7\nseed: 5\n" in recipe
    assert "lr: 0.5" in recipe
    assert "discriminator: null" in recipe  # what the file sets stays


def test_failed_runs_come_again_on_request(fake, tmp_path, capsys):
    plan = fake("sys.exit('no')")
    question, out = str(write_question(tmp_path)), ["--out", str(plan.folder), "--no-report", "--jobs", "6"]
    assert main(["ablate", question, *out]) == 2
    assert "2 of 6 runs failed, the first: tiny+channels3, seed 0: no; the same command with" in capsys.readouterr().err
    (tmp_path / "fake_worker.py").write_text(FAKE.replace("ACTION", ""), encoding="utf-8")
    assert main(["ablate", question, *out]) == 2
    assert [bool(row["error"]) for row in rows_of(plan)] == [False, True, False, False, True, False]
    assert main(["ablate", question, *out, "--retry"]) == 0
    assert not any(row["error"] for row in rows_of(plan))


@pytest.mark.parametrize("action", first_of(["sys.exit(74)", "os.kill(os.getpid(), signal.SIGKILL)"]))
def test_runs_that_were_killed_or_found_no_space_come_again_by_themselves(action, fake, tmp_path):
    plan = fake(action)
    question, out = str(write_question(tmp_path)), ["--out", str(plan.folder), "--no-report", "--jobs", "6"]
    assert main(["ablate", question, *out]) == 2
    (tmp_path / "fake_worker.py").write_text(FAKE.replace("ACTION", ""), encoding="utf-8")
    assert main(["ablate", question, *out]) == 0
    assert not any(row["error"] for row in rows_of(plan))


def raised(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "temporary"),
    [
        (raised(FileError("x: cannot be written"), OSError(errno.ENOSPC, "No space left on device")), True),
        (FileError("x: cannot be written (I/O error: No space left on device (os error 28))"), True),
        (raised(FileError("x"), OSError(errno.EACCES, "Permission denied")), False),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (ValueError("no"), False),
    ],
)
def test_a_full_disk_and_a_lack_of_memory_are_causes_that_pass(error, temporary):
    assert is_temporary(error) is temporary


def test_a_worker_whose_disk_is_full_says_so_by_its_status(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise raised(FileError("x: cannot be written (full)"), OSError(errno.ENOSPC, "full"))

    monkeypatch.setattr(run_worker, "make_run", full)
    assert run_worker.main([str(tmp_path)]) == run_worker.TEMPORARY
    assert capsys.readouterr().err == "FileError: x: cannot be written (full)\n"


def test_torchrun_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    base = ["ablate", "vae_f8_z4_micro", "--set", "latent.channels=8", "--out", str(tmp_path / "out")]
    assert main(base) == 2
    assert "start it without torchrun" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_that_ends_while_the_report_is_written_is_in_it(tmp_path, monkeypatch):
    plan, question, pages = plan_of(tmp_path), str(write_question(tmp_path)), []
    pretend(plan, {"base": [20.0, 20.2], "channels3": [20.1, 20.7], "channels4": [25, 26]})
    late = plan.folder_of(plan.runs[0]) / RESULT
    result = late.read_text()
    late.write_text('{"error": "not yet"}')

    def report(plan, rows, command):
        pages.append([row["error"] for row in rows if row["error"]])
        late.write_text(result)

    monkeypatch.setattr("vaezoo.ablation.report.write_report", report)
    assert main(["ablate", question, "--out", str(plan.folder)]) == 0
    assert pages == [["not yet"], []]


def test_nets_are_checked_before_anything_is_measured(tmp_path, monkeypatch, capsys):
    question = str(write_question(tmp_path, evaluation="{root: PHOTOS, size: 32, nets: [nope]}", measure="{}"))
    monkeypatch.setattr("vaezoo.ablation.measured_costs.measure_all", lambda *_: pytest.fail("measured"))
    assert main(["ablate", question, "--out", str(tmp_path / "out")]) == 2
    assert "nope" in capsys.readouterr().err
