"""README and docs: generated parts are current, code runs, links resolve, numbers come from their CSV."""

import csv
import re
import runpy
import sys

import pytest
import torch
from support.checkout import ROOT

import vaezoo
from vaezoo.io.images import save_picture
from vaezoo.specs.names import parse_name
from vaezoo.weights.records import find_record

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SLOW = {"export.md", "latents.md", "evaluation.md"}  # they trace, encode or evaluate, which other tests do
SNIPPETS = [
    pytest.param(page.name, code, marks=[pytest.mark.slow] if page.name in SLOW else (), id=f"{page.name}-{index}")
    for page in PAGES
    for index, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
]


def test_generated_parts_are_current(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["make_tables.py", "--check"])
    monkeypatch.syspath_prepend(ROOT / "scripts")  # as if the script were started from its folder
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "scripts" / "make_tables.py"), run_name="__main__")
    assert ended.value.code == 0, capsys.readouterr().out


@pytest.mark.parametrize(("page", "code"), SNIPPETS)
def test_every_python_snippet_runs(page, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_picture(torch.rand(3, 50, 70) * 2 - 1, "photo.jpg")
    torch.save({"state_dict": {"weight": torch.ones(2)}}, "model.ckpt")
    exec(compile(code, page, "exec"), {})
    assert list(tmp_path.iterdir())


def test_every_link_to_a_file_resolves():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_test_that_a_page_names_exists():
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8"))}
    assert named
    assert [name for name in sorted(named) if f"def {name}(" not in tests] == []


def test_every_path_of_the_design_exists_and_every_folder_is_in_it():
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:\w+/)+(?:\w+\.(?:py|yaml))?)`", text))
    assert [path for path in sorted(named) if not any((at / path).exists() for at in (ROOT, ROOT / "vaezoo"))] == []
    folders = {f"vaezoo/{path.parent.name}/" for path in (ROOT / "vaezoo").glob("*/__init__.py")}
    assert folders <= named


def test_recorded_metrics_are_those_of_the_results_file():
    with (ROOT / "docs" / "results" / "reconstruction.csv").open(newline="", encoding="utf-8") as file:
        rows = {(row["model"], row["data"], row["protocol"]): row for row in csv.DictReader(file)}
    measured = {name: find_record(parse_name(name)).record for name in vaezoo.list_pretrained()}
    measured = {name: record for name, record in measured.items() if record.metrics}
    assert measured
    for name, record in measured.items():
        val, train = (rows[name, data, record.metrics.protocol] for data in ("val", "train"))
        assert record.metrics.psnr == pytest.approx(float(val["psnr"]), abs=0.006)
        assert record.metrics.images == int(val["images"])
        assert val["sha256"] == record.sha256
        assert list(record.latent_stats.mean) == [float(value) for value in train["latent_mean"].split()]
        assert list(record.latent_stats.std) == [float(value) for value in train["latent_std"].split()]
