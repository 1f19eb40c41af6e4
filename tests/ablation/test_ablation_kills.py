"""An ablation that is killed at any moment ends, run again, in the folder of one that was not interrupted."""

import os
import subprocess
import sys

import pytest
from support.checkout import ROOT
from support.kills import every_third, rerun_after_kills
from support.short_runs import OUTPUT, prepare_ablation, same_times
from support.training import NETWORK, environment

from vaezoo.cli import main
from vaezoo.io.temporary import temporary_name


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """Kill an ablation of two short runs at every change of the file system, or at some; returns how many differed."""
    same_times(monkeypatch)
    ablate = prepare_ablation(tmp_path)
    return lambda **chosen: rerun_after_kills(tmp_path / "out", ablate, ignored=(OUTPUT,), **chosen)


def test_what_a_killed_command_left_beside_the_tables_is_removed(tmp_path):
    (tmp_path / "tiny.yaml").write_text(NETWORK, encoding="utf-8")
    left = tmp_path / f"{temporary_name()}.csv".replace(f"-{os.getpid()}-", "-999999999-")
    left.touch()
    options = ["--set", "latent.channels=3", "--sizes", "32", "--out", str(tmp_path), "--no-report"]
    assert main(["ablate", str(tmp_path / "tiny.yaml"), *options]) == 0
    assert not left.exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_ablation_killed_at_changes_of_the_file_system_ends_as_if_it_had_not_been(interrupted):
    assert interrupted(chosen=every_third) > 15


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("what", "kills"), [("train", 10), ("ablate", 5)])
def test_work_that_is_killed_at_random_moments_again_and_again_ends_as_if_it_had_not_been(tmp_path, what, kills):
    command = [sys.executable, "-m", "support.random_kills", str(tmp_path), what, str(kills)]
    paths = {**environment(), "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(command, env=paths, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[-1]) > 0  # how many were killed, and then went on to their end
