"""`vaezoo evaluate`, as a person types it."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
from math import nan
from pathlib import Path

import pytest
from PIL import Image
from support.checkout import ROOT
from support.commands import run
from support.representatives import first_of

import vaezoo
from vaezoo.cli import main
from vaezoo.evaluation.results import check_results


@pytest.fixture
def micro(tmp_path, monkeypatch):
    """A saved micro network, beside which we stand."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    vaezoo.save(vaezoo.create("vae_f8_z4_micro"), "micro")
    return "local-dir:micro"


@pytest.fixture
def photos(micro):
    for name, size in {"a.jpg": (50, 37), "b.png": (64, 64), "c.webp": (31, 90)}.items():
        Image.effect_noise(size, 60).convert("RGB").save(name)


EVALUATE = ("--data", ".", "--size", "16", "--nets")  # none of them


def test_evaluate_adds_a_row_to_its_csv(capsys, micro, photos):
    for more in ([], [], ["--sample"], ["--protocol", "reconstruction-1"]):
        run(capsys, "evaluate", micro, *EVALUATE, "--out", "results.csv", *more)
    first, second, sample, old = check_results(Path("results.csv"))
    assert first == second
    assert first["sha256"] == hashlib.sha256(Path("micro/model.safetensors").read_bytes()).hexdigest()
    assert first["spec_hash"] == vaezoo.get_spec("vae_f8_z4_micro").hash[:12]
    assert (first["model"], first["images"], first["data"], first["nets"]) == (micro, "3", Path.cwd().name, "")
    assert all(first[column] for column in ("ssim", "chroma_error", "kl", "turn_error", "scale_error", "hardware"))
    assert (sample["latents"], first["latents"]) == ("sample", "mode")
    assert sample["psnr"] != first["psnr"]
    assert (old["protocol"], old["ssim"], old["rounding"]) == ("reconstruction-1", "", "none")


def test_evaluate_speaks_json_and_does_not_touch_a_file_of_other_columns(capsys, micro, photos):
    rows = json.loads(run(capsys, "evaluate", micro, micro, *EVALUATE, "--json"))
    assert [row["images"] for row in rows] == [3, 3]
    assert rows[0]["psnr"] == pytest.approx(sum(rows[0]["psnr_of"].values()) / 3, abs=1e-3)
    Path("other.csv").write_text("a,b\n1,2\n")
    assert main(["evaluate", micro, *EVALUATE, "--out", "other.csv"]) == 2
    assert "other.csv: its columns" in capsys.readouterr().err
    assert Path("other.csv").read_text() == "a,b\n1,2\n"


@pytest.mark.parametrize(
    ("count", "where"),  # calls of the decoder before: three for each photo, then those for plain colors
    first_of([(3, "b.png: "), (5, "b.png, halved: "), (9, "an image of the color (-1.0, -1.0, -1.0): ")]),
)
def test_a_reconstruction_that_is_not_finite_is_named_and_adds_no_row(capsys, micro, photos, monkeypatch, count, where):
    run(capsys, "evaluate", micro, *EVALUATE, "--out", "results.csv")
    before, decode, calls = Path("results.csv").read_text(), vaezoo.VAE.decode, itertools.count()
    monkeypatch.setattr(vaezoo.VAE, "decode", lambda vae, z: decode(vae, z) * (nan if next(calls) == count else 1))
    assert main(["evaluate", micro, *EVALUATE, "--out", "results.csv", "--sheet", "sheet.png"]) == 2
    text = f"{where}vae_f8_z4_micro in torch.float32 computes NaN or infinite values for it; its weights are not usable"
    assert capsys.readouterr().err == f"vaezoo evaluate: {text}\n"
    assert Path("results.csv").read_text() == before
    assert not Path("sheet.png").exists()


def test_evaluate_leaves_out_damaged_photos_and_says_so(capsys, micro, photos):
    whole = json.loads(run(capsys, "evaluate", micro, *EVALUATE, "--json"))[0]
    Path("a_bad.png").write_bytes(Path("b.png").read_bytes()[:200])
    assert main(["evaluate", micro, *EVALUATE, "--json"]) == 0
    printed = capsys.readouterr()
    row = json.loads(printed.out)[0]
    assert row["psnr_of"] == whole["psnr_of"]
    assert [bad["image"] for bad in row.pop("bad")] == ["a_bad.png"]
    assert "1 of 4 photos cannot be read and was left out (--bad refuse stops at the first):\n  a_bad.png: "
    assert main(["evaluate", micro, *EVALUATE, "--bad", "refuse"]) == 2
    assert capsys.readouterr().err.startswith("vaezoo evaluate: a_bad.png: ")


def test_evaluate_says_how_many_photos_it_enlarged(capsys, micro, photos):
    assert main(["evaluate", micro, "--data", ".", "--size", "32", "--nets"]) == 0
    assert "1 of 3 photos are smaller than 32 pixels and were enlarged" in capsys.readouterr().err
    assert main(["evaluate", micro, *EVALUATE]) == 0
    assert "enlarged" not in capsys.readouterr().err


def test_evaluate_draws_the_worst_cases_and_names_them(capsys, micro, photos):
    text = run(capsys, "evaluate", micro, *EVALUATE, "--sheet", "worst.png", "--count", 2)
    sheet = Path("worst.png").rename("../worst.png")
    data = json.loads(run(capsys, "evaluate", micro, *EVALUATE, "--json"))[0]["psnr_of"]
    worst = sorted(data, key=data.get)[:2]
    assert f"latents): {worst[0]} {data[worst[0]]:.2f} dB, {worst[1]}" in text
    with Image.open(sheet) as picture:
        assert picture.size[0] == 4 * 128 + 3 * 4  # small images are enlarged to 128
        assert picture.size[1] > 2 * 128 + 4  # and have captions


def test_evaluate_says_which_net_is_missing_and_reports_the_rest(capsys, micro, photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    assert main(["evaluate", micro, *EVALUATE, "inception"]) == 0
    out, error = capsys.readouterr()
    assert error.startswith("vaezoo evaluate: without inception: ")
    assert "pip install 'vaezoo[eval]'" in error
    assert "SSIM" in out


@pytest.mark.slow
def test_evaluate_under_torchrun_writes_one_row_over_all_photos(micro, photos):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "vaezoo.cli", "evaluate", micro, *EVALUATE, "--out", "results.csv"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    assert main(["evaluate", micro, *EVALUATE, "--out", "alone.csv"]) == 0
    (together,), (alone,) = check_results(Path("results.csv")), check_results(Path("alone.csv"))
    assert together["images"] == "3"
    assert float(together["psnr"]) == pytest.approx(float(alone["psnr"]), abs=0.002)
