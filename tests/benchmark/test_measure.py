"""The measured panel: figures that hold together, the same work for the peer, failures that cost one row."""

import io
import json
import sys
from dataclasses import asdict, replace

import pytest
import torch
from support.representatives import first_of

import vaezoo
from vaezoo.analysis.costs import costs
from vaezoo.benchmark import measure as measured
from vaezoo.benchmark.benchmark_row import COLUMNS, about, figures
from vaezoo.benchmark.case import make_case
from vaezoo.benchmark.child import main as work
from vaezoo.benchmark.measure import largest_batch, measure, measure_beside
from vaezoo.benchmark.peers import DIFFUSERS
from vaezoo.benchmark.process import ProcessLost, benchmark_process
from vaezoo.benchmark.scaling import SAME, exponents
from vaezoo.benchmark.steps import make_network, make_step
from vaezoo.benchmark.training_step import ADAMW
from vaezoo.errors import InputError, UnknownNameError

MICRO = "vae_f8_z4_micro"
DEFAULTS = {"size": 16, "batch": 2, "dtype": "fp32", "channels_last": False, "device": "cpu"}


def case_of(network, what, **changes):
    return make_case(network, what, **{**DEFAULTS, **changes})


@pytest.mark.slow  # another process that imports torch; by default its program runs here, and scripts stand for it
def test_a_row_is_measured_in_a_process_of_its_own():
    row = measure(MICRO, "encode", 32, batch=3, dtype="bf16", channels_last=True, repeats=3, warmup=1)
    assert tuple(row) == COLUMNS
    assert row["error"] is None
    assert (row["model"], row["spec_hash"]) == (MICRO, vaezoo.get_spec(MICRO).hash[:12])
    assert (row["what"], row["size"], row["batch"], row["dtype"]) == ("encode", 32, 3, "bf16")
    assert (row["memory_format"], row["implementation"], row["repeats"]) == ("channels_last", "vaezoo", 3)
    assert 0 < row["seconds_q1"] <= row["seconds"] <= row["seconds_q3"] < 60
    assert row["images_per_second"] == pytest.approx(3 / row["seconds"])
    assert 0 <= row["peak_rss_growth_mib"] < 1000
    assert row["peak_allocated_mib"] is row["time_ratio"] is row["largest_batch"] is None
    assert row["threads"] >= 1
    assert row["matmul_share"] > 0


@pytest.mark.slow  # another process that imports torch
def test_running_out_of_memory_is_a_row_that_says_so():
    row = measure(MICRO, "encode", 64, batch=10**9)
    assert tuple(row) == COLUMNS
    assert measured.OUT_OF_MEMORY.search(row["error"])
    assert "\n" not in row["error"]
    assert row["seconds"] is row["peak_rss_growth_mib"] is None
    assert (row["model"], row["batch"]) == (MICRO, 10**9)


def script(tmp_path, monkeypatch, text: str) -> None:
    """Let a shell script take the place of the Python of a benchmark process."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("kill -9 $$", "killed by SIGKILL, probably out of memory"),
        ("kill -11 $$", "killed by SIGSEGV"),
        ("exit 3", "ended with status 3"),
        (
            "echo Traceback >&2; echo 'torch.OutOfMemoryError: CUDA' >&2; echo frame >&2; exit 1",
            "torch.OutOfMemoryError: CUDA",
        ),
        ("echo 'some words' >&2; exit 1", "some words"),
    ],
)
def test_why_a_process_ended_is_told_in_a_line(tmp_path, monkeypatch, text, error):
    script(tmp_path, monkeypatch, text)
    with benchmark_process() as lost, pytest.raises(ProcessLost, match=f"^{error}$"):
        lost.ask("{}")


def test_a_crash_of_one_implementation_leaves_the_row_of_the_other(tmp_path, monkeypatch, ldm):
    begun = '{"before_mib": 100, "threads": 1, "params": 2, "matmul_gmacs": 9}'
    step = '{"seconds": 2.0, "cpu_seconds": 1.0, "peak_mib": 150}'
    crash = 'case "$job" in *\\"diffusers\\"*) kill -11 $$;; esac'
    script(tmp_path, monkeypatch, f"read job; echo '{begun}'; {crash}; while read ask; do echo '{step}'; done")
    ours, theirs = measure_beside(DIFFUSERS, ldm, "encode", 16, repeats=2)
    assert (ours["error"], ours["seconds"], ours["peak_rss_growth_mib"]) == (None, 2.0, 50)
    assert (theirs["error"], theirs["seconds"]) == ("killed by SIGSEGV", None)
    assert ours["time_ratio"] is ours["memory_ratio"] is None


def test_ratios_are_ours_by_the_peers_turn_by_turn(tmp_path, monkeypatch, ldm):
    """Each turn of the peer takes 4 s; ours 100 s to warm up, then 1, 2 and 8 s."""
    ours = (
        'for s in 100 1 2 8; do read ask; echo "{\\"seconds\\": $s, \\"cpu_seconds\\": 1, \\"peak_mib\\": 160}"; done'
    )
    theirs = 'while read ask; do echo \'{"seconds": 4, "cpu_seconds": 3, "peak_mib": 140}\'; done'
    begun = '{"before_mib": 100, "threads": 1, "params": 2, "matmul_gmacs": 9}'
    choose = f'case "$job" in *\\"diffusers\\"*) {theirs};; *) {ours};; esac'
    script(tmp_path, monkeypatch, f"read job; echo '{begun}'; {choose}")
    row, peer = measure_beside(DIFFUSERS, ldm, "encode", 16, repeats=3, warmup=1)
    assert (row["seconds"], row["seconds_q1"], row["seconds_q3"]) == (2, 1.5, 5)
    assert row["time_ratio"] == 0.5
    assert row["cpu_ratio"] == pytest.approx(1 / 3)
    assert row["memory_ratio"] == 1.5
    assert (peer["seconds"], peer["cpu_seconds"], peer["implementation"]) == (4, 3, DIFFUSERS)
    assert peer["time_ratio"] is peer["memory_ratio"] is None


@pytest.mark.parametrize("what", ["encode", "decode", "train"])
@pytest.mark.parametrize("implementation", ["vaezoo", "diffusers"])
def test_a_process_answers_every_question_by_a_step(what, implementation, ldm, monkeypatch):
    monkeypatch.setattr("vaezoo.benchmark.child.matmul_gmacs", lambda device, dtype: 9.0)
    case = case_of(ldm, what, implementation=implementation, channels_last=True)  # bfloat16 is slow on many CPUs
    answers = io.StringIO()
    work(io.StringIO(f"{json.dumps(asdict(case))}\nstep\nstep\n"), answers)
    begun, *steps = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert begun["params"] == sum(p.numel() for p in vaezoo.create(ldm).parameters())
    assert begun["before_mib"] > 0
    assert begun["matmul_gmacs"] == 9
    assert len(steps) == 2
    assert all(step["seconds"] > 0 and step["peak_mib"] > 0 for step in steps)


@pytest.mark.parametrize(("tile", "keep"), [(None, True), (8, True), (None, False)])
def test_a_fast_step_is_that_of_optimize(tile, keep, ldm, monkeypatch):
    kept = []
    monkeypatch.setattr("vaezoo.inference.optimize.keep_freed_memory", lambda: kept.append(True))
    case = case_of(ldm, "reconstruct", fast=True, tile=tile, keep_memory=keep, channels_last=True, dtype="bf16")
    network = make_network(case)
    assert any(kept) == keep
    assert (network.executor.tile, network.executor.fuse, network.dtype) == (tile, True, torch.bfloat16)
    images = make_step(network, case)()
    assert (images.shape, images.dtype, images.requires_grad) == ((2, 3, 16, 16), torch.float32, False)


def test_the_share_of_the_matrix_peak_counts_the_macs_of_the_step(ldm):
    gmacs = {}
    for what in ("encode", "decode", "reconstruct", "train"):
        row = about(case_of(ldm, what, batch=3), repeats=1, warmup=0)
        gmacs[what] = row["gmacs"]
    assert gmacs["encode"] == pytest.approx(3 * costs(ldm, 16).gmacs("encoder"))
    assert gmacs["reconstruct"] == pytest.approx(gmacs["encode"] + gmacs["decode"])
    assert gmacs["train"] == pytest.approx(3 * gmacs["reconstruct"])
    start, step = {"before_mib": 0, "threads": 1, "matmul_gmacs": 0.5}, {"seconds": 2, "cpu_seconds": 1, "peak_mib": 0}
    assert figures(row, start, [step])["matmul_share"] == pytest.approx(gmacs["train"] / 2 / 0.5)


def test_the_exponent_is_that_of_the_times():
    def row(size, seconds, **changes):
        return dict.fromkeys(SAME, "x") | {"fast": None, "tile": None, "size": size, "seconds": seconds} | changes

    linear = [row(size, 1e-6 * size**2) for size in (64, 128, 512)]
    square = [row(str(size), str(1e-9 * size**4), what="train") for size in (64, 128)]
    others = [row(64, 1.0, dtype="bf16"), row(256, None, dtype="bf16"), row(None, 1.0, what="load")]
    first, second = exponents([*linear, *square, *others])
    assert (first.exponent, first.smallest, first.largest) == (pytest.approx(1), 64, 512)
    assert (second.exponent, second.of["what"]) == (pytest.approx(2), "train")


@pytest.mark.parametrize(
    ("implementation", "dtype"), first_of([("vaezoo", "bf16"), ("vaezoo", "fp32"), ("diffusers", "bf16")])
)
def test_a_training_step_changes_every_float32_weight_and_lowers_the_loss(implementation, dtype, ldm, monkeypatch):
    monkeypatch.setattr("vaezoo.benchmark.training_step.ADAMW", replace(ADAMW, lr=3e-3))
    case = case_of(ldm, "train", implementation=implementation, dtype=dtype)
    network = make_network(case)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    step = make_step(network, case)
    losses = [step() for _ in range(8)]
    assert losses[-1] < 0.95 * losses[0]
    for name, parameter in network.named_parameters():
        assert parameter.dtype == torch.float32
        assert not torch.equal(parameter, before[name]), name


def test_inference_runs_in_the_asked_dtype_and_format_without_gradients(ldm):
    case = case_of(ldm, "decode", dtype="bf16", channels_last=True)
    network = make_network(case)
    images = make_step(network, case)()
    assert (images.shape, images.dtype, images.requires_grad) == ((2, 3, 16, 16), torch.bfloat16, False)
    assert network.decoder[0].weight.dtype == torch.bfloat16
    assert network.decoder[1].weight.is_contiguous(memory_format=torch.channels_last)
    assert make_step(network, replace(case, what="encode"))().moments.shape == (2, 8, 8, 8)


@pytest.mark.parametrize(("budget", "largest"), [(10, 0), (11, 1), (30, 20), (1e9, measured.MAX_BATCH)])
def test_the_largest_batch_is_the_last_that_fits(monkeypatch, budget, largest):
    """Of a step that takes 10 MiB and 1 MiB an image."""
    tried = []

    def pretended(name, what, size, batch, *rest, **more):
        tried.append(batch)
        return {"error": None, "peak_allocated_mib": None, "peak_rss_growth_mib": 10.0 + batch}

    monkeypatch.setattr(measured, "measure", pretended)
    assert largest_batch(MICRO, "encode", 64, budget) == {
        "largest_batch": largest,
        "budget_mib": budget,
        "error": None,
    }
    assert len(tried) == len(set(tried)) <= 14


def test_running_out_of_memory_is_too_many_and_another_failure_is_told(monkeypatch):
    def failing(error):
        good = {"error": None, "peak_allocated_mib": 1.0, "peak_rss_growth_mib": None}
        monkeypatch.setattr(
            measured, "measure", lambda n, w, s, batch, *_, **__: good if batch < 6 else {"error": error}
        )
        return largest_batch(MICRO, "encode", 64, 100)

    assert failing("torch.OutOfMemoryError: CUDA out of memory.")["largest_batch"] == 5
    assert failing("killed by SIGKILL, probably out of memory")["largest_batch"] == 5
    assert failing("RuntimeError: no such kernel") == {
        "largest_batch": None,
        "budget_mib": 100,
        "error": "RuntimeError: no such kernel",
    }


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"what": "encod"}, "did you mean 'encode'"),
        ({"dtype": "fp23"}, "did you mean 'fp32'"),
        ({"what": "train", "dtype": "fp16"}, "loss scaling"),
        ({"batch": 0}, "batch is 0"),
        ({"size": 20}, "not a positive multiple of 8"),
        ({"device": "cuda:99"}, "PyTorch cannot use it here"),
        ({"repeats": 0}, "repeats is 0"),
        ({"warmup": -1}, "warmup -1"),
    ],
)
def test_arguments_are_checked_before_anything_runs(changes, text, monkeypatch):
    monkeypatch.setattr(measured, "benchmark_process", None)
    with pytest.raises(InputError, match=text):
        measure(**{"name_or_spec": MICRO, "what": "encode", "size": 16, **changes})
    with pytest.raises(UnknownNameError):
        measure("vae_f8_z5", "encode")
    with pytest.raises(InputError, match="budget_mib is 0"):
        largest_batch(MICRO, "encode", 64, 0)
