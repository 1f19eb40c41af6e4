"""The command `vaezoo benchmark`: rows to a file and the terminal, faults before anything runs."""

import json

import pytest
from support.checkout import ROOT
from support.tiny_pipeline import LDM, small

from vaezoo.benchmark import case as cases
from vaezoo.benchmark import measure as measured
from vaezoo.benchmark.benchmark_row import COLUMNS, FIRST_COLUMNS, about, figures
from vaezoo.cli import main
from vaezoo.evaluation.results import check_results

MICRO = "vae_f8_z4_micro"


@pytest.fixture
def pretended(monkeypatch):
    """No processes: each job is answered at once, 2 seconds a step; ours grows by 10 MiB an image, the peer by 20."""
    jobs = []

    def run(asked, repeats, warmup):
        jobs.extend(asked)
        rows = [about(job, repeats, warmup) for job in asked]
        for job, row in zip(asked, rows, strict=True):
            step = {
                "seconds": 2.0,
                "cpu_seconds": 1.0,
                "peak_mib": 100.0 + job.batch * (10 if job.implementation == "vaezoo" else 20),
            }
            start = {"before_mib": 100.0, "threads": 2, "matmul_gmacs": 50.0}
            row |= figures(row, start, [step] * (warmup + repeats))
        return rows

    monkeypatch.setattr(measured, "_run", run)
    return jobs


def test_every_combination_is_a_row_of_the_file(tmp_path, pretended, capsys):
    out = tmp_path / "bench.csv"
    lists = ["--sizes", "32,64", "--what", "encode,train", "--formats", "channels_last,contiguous"]
    assert main(["benchmark", MICRO, *lists, "--batch", "4", "--out", str(out)]) == 0
    rows = check_results(out, COLUMNS, "benchmark")
    keys = ("model", "size", "what", "dtype", "memory_format")
    assert len({tuple(row[key] for key in keys) for row in rows}) == len(rows) == 2**3 == len(pretended)
    row = rows[0]
    assert (row["seconds"], row["images_per_second"], row["peak_rss_growth_mib"]) == ("2.0000", "2.0000", "40.0000")
    assert row["hardware"]
    assert row["error"] == row["time_ratio"] == ""
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(rows) + 4  # each exponent over the two sizes is a line
    assert lines[0].startswith(
        f"{MICRO} encode (vaezoo, 32 pixels, batch 4, fp32, channels_last): 2 s (2 to 2), 2 images/s"
    )


def test_a_fast_path_that_returns_memory_says_so(tmp_path, pretended, capsys):
    fast = ["benchmark", MICRO, "--what", "decode", "--sizes", "32", "--fast", "--return-memory"]
    assert main([*fast, "--out", str(tmp_path / "bench.csv")]) == 0
    assert pretended[0].keep_memory is False
    assert "vaezoo, fast, memory returned, 32 pixels" in capsys.readouterr().out
    fast.remove("--fast")
    assert main([*fast, "--tile", "8"]) == 2
    assert "keep_memory" in capsys.readouterr().err


def test_the_largest_batch_and_the_peer_have_their_columns(tmp_path, pretended, capsys):
    small(tmp_path, LDM, scale=0.5)
    out = tmp_path / "bench.csv"
    command = ["benchmark", str(tmp_path / "small.yaml"), "--sizes", "32", "--what", "decode", "--out", str(out)]
    assert main([*command, "--peer", "diffusers", "--budget", "75"]) == 0
    ours, theirs = check_results(out, COLUMNS, "benchmark")
    assert (ours["largest_batch"], ours["budget_mib"], theirs["largest_batch"]) == ("7", "75.0000", "")
    assert (ours["implementation"], theirs["implementation"]) == ("vaezoo", "diffusers")
    assert theirs["diffusers"]
    assert "largest batch within 75 MiB: 7" in capsys.readouterr().out


def test_fast_and_tile_are_ours_alone_and_the_dtype_is_that_of_optimize(tmp_path, pretended, monkeypatch, capsys):
    monkeypatch.setattr(cases, "fast_bf16", lambda device: True)
    assert main(["benchmark", MICRO, "--sizes", "32", "--fast", "--tile", "16", "--peer", "documented"]) == 0
    known = [(job.what, job.implementation, job.fast, job.tile, job.dtype, job.channels_last) for job in pretended]
    assert known == [
        row
        for what in ("encode", "decode")
        for row in ((what, "vaezoo", True, 16, "bf16", True), (what, "documented", False, None, "bf16", True))
    ]
    assert "(vaezoo, fast, strips of 16, 32 pixels, batch 1, bf16, channels_last)" in capsys.readouterr().out


def test_a_peer_runs_at_its_defaults_on_request(tmp_path, pretended):
    command = [
        "benchmark",
        MICRO,
        "--sizes",
        "32",
        "--what",
        "decode",
        "--dtypes",
        "bf16",
        "--formats",
        "channels_last",
    ]
    assert main([*command, "--peer", "documented", "--peer-defaults"]) == 0
    ours, theirs = pretended
    assert (ours.dtype, ours.channels_last, theirs.dtype, theirs.channels_last) == ("bf16", True, "fp32", False)


def test_each_peer_has_a_row_of_ours_beside_it_and_loading_has_no_sizes(tmp_path, pretended):
    small(tmp_path, LDM, scale=0.5)
    command = ["benchmark", str(tmp_path / "small.yaml"), "--sizes", "32,64", "--formats", "contiguous,channels_last"]
    assert main([*command, "--what", "load", "--peer", "diffusers"]) == 0
    assert [job.implementation for job in pretended] == ["vaezoo", "diffusers"]
    pretended.clear()
    assert main(["benchmark", MICRO, "--sizes", "32", "--what", "encode", "--peer", "documented"]) == 0
    assert [job.implementation for job in pretended] == ["vaezoo", "documented"]


def test_the_exponent_over_pixels_is_a_line_of_its_own(pretended, capsys):
    assert main(["benchmark", MICRO, "--sizes", "32,64", "--what", "encode"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last == f"{MICRO} encode (vaezoo, fp32, contiguous): time grows with pixels ^ 0.00 (32 to 64)"


def test_a_file_without_the_newest_columns_is_continued(tmp_path, pretended):
    path = tmp_path / "bench.csv"
    path.write_text(f"{','.join(FIRST_COLUMNS)}\nold{',' * (len(FIRST_COLUMNS) - 1)}\n", encoding="utf-8")
    assert main(["benchmark", MICRO, "--sizes", "32", "--what", "encode", "--out", str(path)]) == 0
    old, new = check_results(path, COLUMNS, "benchmark")
    assert (old["model"], old["gmacs"]) == ("old", "")
    assert float(new["gmacs"]) > 0
    assert float(new["matmul_share"]) == pytest.approx(float(new["gmacs"]) / 2 / 50, abs=1e-4)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--fast", "--what", "train"], "train does not run optimized"),
        (["--tile", "64", "--what", "load"], "load does not run optimized"),
        (["--what", "load", "--peer", "documented"], "no folders to load"),
        (["--what", "load", "--budget", "10"], "loading has no batch"),
        (["--peer-defaults"], "add --peer"),
        (["--sizes", "64,big"], "--sizes 64,big: expected pixels"),
        (["--sizes", "64,60"], "60x60 is not a positive multiple of 8"),
        (["--what", "encode,paint"], "unknown step 'paint'"),
        (["--dtypes", "fp32,fp8"], "unknown dtype 'fp8'"),
        (["--formats", "chanels_last"], "did you mean 'channels_last'"),
        (["--peer", "diffusers"], "the peer is diffusers' AutoencoderKL"),
        (["--out", "nowhere/bench.csv"], "there is no folder nowhere"),
        (["--budget", "0"], "budget_mib is 0"),
        (["--repeats", "0"], "repeats is 0"),
    ],
)
def test_faults_are_told_before_anything_runs(more, text, pretended, capsys):
    assert main(["benchmark", MICRO, *more]) == 2
    assert text in capsys.readouterr().err
    assert pretended == []


def test_a_file_of_other_columns_is_refused(tmp_path, pretended, capsys):
    path = tmp_path / "bench.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    assert main(["benchmark", MICRO, "--out", str(path)]) == 2
    assert "its columns are not those of vaezoo benchmark" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "a,b\n1,2\n"


def test_every_column_is_described_in_the_docs():
    text = (ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8")
    described = text[text.index("## What the columns mean") :]
    assert [column for column in COLUMNS if f"`{column}`" not in described] == []


def test_the_published_rows_hold_a_training_step_and_a_peer():
    rows = check_results(ROOT / "docs" / "results" / "benchmark.csv", COLUMNS, "benchmark", FIRST_COLUMNS)
    trained = {
        (row["model"], row["size"]) for row in rows if row["what"] == "train" and row["implementation"] == "vaezoo"
    }
    assert trained >= {(name, size) for name in (MICRO, "vae_f8_z4") for size in ("64", "128", "256")}
    assert any(row["time_ratio"] and row["memory_ratio"] for row in rows)


@pytest.mark.slow
def test_training_steps_of_both_implementations_are_really_measured(tmp_path, capsys):
    small(tmp_path, LDM, scale=0.5)
    command = ["benchmark", str(tmp_path / "small.yaml"), "--sizes", "32", "--what", "train", "--repeats", "2"]
    assert main([*command, "--peer", "diffusers", "--json"]) == 0
    ours, theirs = json.loads(capsys.readouterr().out)
    assert ours["error"] is theirs["error"] is None
    assert 0.05 < ours["time_ratio"] < 20
    assert 0 < ours["seconds"] < 60
    assert theirs["peak_rss_growth_mib"] > 0
