"""Time and memory of steps, each row measured in a process of its own.

A process that crashes or runs out of memory costs its row only, which then has the reason in `error`.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from vaezoo.benchmark.benchmark_row import BenchmarkRow, about, conditions, figures, memory_of, ratios
from vaezoo.benchmark.case import BenchmarkCase, make_case
from vaezoo.benchmark.loading import loading_questions
from vaezoo.benchmark.peers import PEERS
from vaezoo.benchmark.process import ProcessLost, benchmark_process
from vaezoo.errors import InputError
from vaezoo.specs.faults import unknown
from vaezoo.specs.model import ModelSpec

Ask = Callable[[int, int], dict[str, Any]]  # index of a case and number of the turn to the answer of its process

OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|MemoryError|SIGKILL", re.IGNORECASE)
MAX_BATCH = 4096  # images of the largest batch that is tried


def measure(
    name_or_spec: str | ModelSpec,
    what: str,
    size: int = 256,
    batch: int = 1,
    dtype: str = "fp32",
    channels_last: bool | None = False,
    device: str = "cpu",
    repeats: int = 5,
    warmup: int = 1,
    fast: bool = False,
    tile: int | str | None = None,
    keep_memory: bool = True,
) -> BenchmarkRow:
    """Measure time and memory of one step with random weights and images, in a process of its own.

    Args:
        name_or_spec: A name that `vaezoo.get_spec` takes, or a spec.
        what: "encode", "decode", "reconstruct" (both), "train" or "load". A training step is forward, backward and an
            AdamW update with L1 and KL losses. "load" imports the library and loads a saved model, in a new process
            each time; size, batch and memory format do not matter then.
        size: Pixels per side of the images.
        batch: Number of images per step.
        dtype: Dtype of the weights: "fp32", "bf16" or "fp16", or "auto" for the choice of `vaezoo.optimize`. A training
            step keeps float32 weights, computes under autocast, and does not take "fp16".
        channels_last: Whether weights and images are in the channels_last memory format; `None` leaves the choice to
            `vaezoo.optimize`.
        device: Device to run on.
        repeats: Number of timed steps, at least 1.
        warmup: Number of steps before them; they count for peak memory but not for time.
        fast: Whether to run the network by `vaezoo.optimize`, as `--fast` does.
        tile: Height in pixels of the strips of `vaezoo.optimize`, or "auto"; `None` runs whole images.
        keep_memory: Whether `fast` and `tile` keep freed memory for the next tensors, as commands do.

    Returns:
        A value for each of `COLUMNS`, `None` where it does not apply; `docs/benchmark.md` explains them. If the process
        fails, `error` has the reason and there are no figures.

    Raises:
        InputError: If an argument is invalid; nothing has run then.
        UnknownNameError: If there is no model of this name.
    """
    _check_times(repeats, warmup)
    case = make_case(
        name_or_spec, what, size, batch, dtype, channels_last, device, fast=fast, tile=tile, keep_memory=keep_memory
    )
    return _run([case], repeats, warmup)[0]


def measure_beside(
    peer: str,
    name_or_spec: str | ModelSpec,
    what: str,
    size: int = 256,
    batch: int = 1,
    dtype: str = "fp32",
    channels_last: bool | None = False,
    device: str = "cpu",
    repeats: int = 5,
    warmup: int = 1,
    fast: bool = False,
    tile: int | str | None = None,
    peer_defaults: bool = False,
    keep_memory: bool = True,
) -> tuple[BenchmarkRow, BenchmarkRow]:
    """Measure the network and the same network of another implementation, in two processes that alternate step by step.

    Args:
        peer: "diffusers" for its `AutoencoderKL`, or "documented" for the documented VAE in plain PyTorch.
        name_or_spec: A name that `vaezoo.get_spec` takes, or a spec.
        what: As for `measure`, like all further arguments but `peer_defaults`.
        peer_defaults: Whether the peer runs in float32 and contiguous, as it does if nothing is asked of it. Otherwise
            it runs in the dtype and memory format of this library.

    Returns:
        The rows of both. The first also has `time_ratio` and `cpu_ratio`, medians of this library's time divided by
        that of the peer in the same turn, and `memory_ratio`.

    Raises:
        InputError: As `measure`, or if the peer is not installed or does not have the network.
        UnknownNameError: If there is no model of this name.
    """
    _check_times(repeats, warmup)
    if peer not in PEERS:
        raise InputError(f"{unknown(peer, PEERS, 'peer')}")
    ours = make_case(
        name_or_spec, what, size, batch, dtype, channels_last, device, fast=fast, tile=tile, keep_memory=keep_memory
    )
    own = ("fp32", False) if peer_defaults else (ours.dtype, ours.channels_last)
    first, second = _run([ours, make_case(name_or_spec, what, size, batch, *own, device, peer)], repeats, warmup)
    return first, second


def largest_batch(
    name_or_spec: str | ModelSpec,
    what: str,
    size: int,
    budget_mib: float,
    dtype: str = "fp32",
    channels_last: bool | None = False,
    device: str = "cpu",
    fast: bool = False,
    tile: int | str | None = None,
    keep_memory: bool = True,
) -> BenchmarkRow:
    """Find the largest batch whose step stays within a memory budget.

    The search doubles and bisects up to `MAX_BATCH` images, with a process per batch. Running out of memory counts as
    over the budget.

    Args:
        name_or_spec: A name that `vaezoo.get_spec` takes, or a spec.
        what: "encode", "decode", "reconstruct" or "train".
        size: Pixels per side of the images.
        budget_mib: Memory in MiB, more than 0, compared with the peak that `measure` reports.
        dtype: As for `measure`, like the remaining arguments.

    Returns:
        `largest_batch`, 0 if a single image is over the budget; `budget_mib`; and `error`, the reason if a process
        failed otherwise, in which case `largest_batch` is `None`.

    Raises:
        InputError: As `measure`, or if the budget is not positive.
        UnknownNameError: If there is no model of this name.
    """
    check_budget(budget_mib, what)
    fitting, too_many = 0, MAX_BATCH + 1
    while too_many - fitting > 1:
        batch = min(max(2 * fitting, 1), MAX_BATCH) if too_many > MAX_BATCH else (fitting + too_many) // 2
        row = measure(name_or_spec, what, size, batch, dtype, channels_last, device, 2, 0, fast, tile, keep_memory)
        if row["error"] and not OUT_OF_MEMORY.search(row["error"]):
            return {"largest_batch": None, "budget_mib": budget_mib, "error": row["error"]}
        memory = None if row["error"] else memory_of(row)
        if memory is None or memory > budget_mib:
            too_many = batch
        else:
            fitting = batch
    return {"largest_batch": fitting, "budget_mib": budget_mib, "error": None}


def check_budget(budget_mib: float, what: str) -> None:
    """Raise `InputError` unless the budget is more than 0 MiB, and the step has a batch."""
    if not budget_mib > 0:
        raise InputError(f"budget_mib is {budget_mib}; expected more than 0 MiB")
    if what == "load":
        raise InputError("loading has no batch; name other steps, or leave out the budget")


def _check_times(repeats: int, warmup: int) -> None:
    if repeats < 1 or warmup < 0:
        raise InputError(f"repeats is {repeats} and warmup {warmup}; expected at least 1 and at least 0")


def _run(cases: Sequence[BenchmarkCase], repeats: int, warmup: int) -> list[BenchmarkRow]:
    """Measure the cases, whose processes alternate step by step, and return a row for each."""
    answers: list[list[dict[str, Any]]] = [[] for _ in cases]
    errors: dict[int, str] = {}
    with _one_load_each(cases) if cases[0].what == "load" else _one_process_each(cases) as ask:
        for turn in range(1 + warmup + repeats):
            for index in range(len(cases)):
                if index not in errors:
                    try:
                        answers[index].append(ask(index, turn))
                    except ProcessLost as lost:
                        errors[index] = str(lost)
    rows = [about(case, repeats, warmup) for case in cases]
    for index, row in enumerate(rows):
        row |= {"error": errors[index]} if index in errors else figures(row, answers[index][0], answers[index][1:])
    if len(cases) == 2:
        rows[0]["against"] = conditions(cases[1])
        if not errors:
            ours, theirs = (each[1 + warmup :] for each in answers)
            rows[0] |= ratios(ours, theirs)
            ours_mib, theirs_mib = map(memory_of, rows)
            rows[0]["memory_ratio"] = ours_mib / theirs_mib if ours_mib is not None and theirs_mib else None
    return rows


@contextlib.contextmanager
def _one_process_each(cases: Sequence[BenchmarkCase]) -> Iterator[Ask]:
    """Start a process per case; the first question to it is the case, and every further one asks for a step."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(benchmark_process()) for _ in cases]
        yield lambda index, turn: processes[index].ask("step" if turn else json.dumps(asdict(cases[index])))


@contextlib.contextmanager
def _one_load_each(cases: Sequence[BenchmarkCase]) -> Iterator[Ask]:
    """Start a process for every question."""
    with loading_questions(cases) as questions:

        def ask(index: int, turn: int) -> dict[str, Any]:
            with benchmark_process("vaezoo.benchmark.load_child") as process:
                return process.ask(questions[index])

        yield ask
