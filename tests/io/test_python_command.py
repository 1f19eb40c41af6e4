"""Other processes of vaezoo import what this one would, not what lies in the working directory."""

import subprocess
import sys

import pytest
from support.checkout import ROOT
from support.training import write_recipe

from vaezoo.io.python_command import python_command

HOSTILE = "import pathlib; pathlib.Path(__file__).with_suffix('.executed').touch(); raise SystemExit('executed')\n"
MODULES = ("random", "runpy", "json", "timm", "torch", "vaezoo")


@pytest.fixture
def hostile(tmp_path):
    """A folder with modules that a process must not import."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in MODULES:
        (folder / f"{name}.py").write_text(HOSTILE, encoding="utf-8")
    return folder


def run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert list(folder.glob("*.executed")) == []
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_module_runs_with_the_path_of_this_process_and_without_the_working_directory(hostile, tmp_path, monkeypatch):
    probe = "import json, random, sys\nprint(__name__, sys.argv[1:], json.dumps(sys.path))\n"
    (tmp_path / "probe.py").write_text(probe, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    said = run([*python_command("probe"), "a", "b"], hostile)
    assert said.startswith("__main__ ['a', 'b'] ")
    assert str(hostile) not in said
    assert str(tmp_path) in said


def test_workers_of_ablations_and_benchmarks_are_such_commands():
    for path in ("jobs/local.py", "benchmark/process.py"):
        assert "python_command(" in (ROOT / "vaezoo" / path).read_text(encoding="utf-8")
    starts = [path for path in (ROOT / "vaezoo").rglob("*.py") if '"-m"' in path.read_text(encoding="utf-8")]
    assert starts == []


@pytest.mark.slow
def test_an_ablation_and_a_benchmark_execute_nothing_of_the_working_directory(hostile, tmp_path):
    recipe = write_recipe(tmp_path)
    start = f"import sys; sys.path[0] = {str(ROOT)!r}; from vaezoo.cli import main; sys.exit(main(sys.argv[1:]))"
    ablate = ["ablate", tmp_path / "tiny.yaml", "--set", "latent.channels=3", "--train", recipe, "--steps=2"]
    more = ["--seeds=0", "--sizes=32", "--measure=decode", "--no-report", "--out", tmp_path / "out", "--device=cpu"]
    said = run([sys.executable, "-c", start, *map(str, [*ablate, *more])], hostile)
    assert said.count(": PSNR ") == 2
    assert "failed" not in said
    benchmark = ["benchmark", tmp_path / "tiny.yaml", "--size=32", "--what=decode", "--repeats=2"]
    assert "failed" not in run([sys.executable, "-c", start, *map(str, benchmark)], hostile)
