"""Ask a question about a network: variants of it, what they cost, how well they learn, and a report.

The question is a file (configs/ablations), or a network and what to change in it:

  vaezoo ablate quickstart --out answer
  vaezoo ablate vae_f8_z4 --set "latent.channels=4,8,16" --set "encoder.4.heads,decoder.2.heads=0,1,4" --out costs

A second call goes on with what is missing; several machines may share a folder.
"""

import os
import shlex
import signal
import sys
from argparse import Namespace
from pathlib import Path

from vaezoo.ablation.measured_costs import measure_all, unmeasured
from vaezoo.ablation.plan import Plan, Run, make_plan
from vaezoo.ablation.question import check_question, parse_axes, read_question
from vaezoo.ablation.report import check_extra, write_report
from vaezoo.ablation.run_results import RESULT, read_result, write_tables
from vaezoo.ablation.runs import Manner, run_all
from vaezoo.ablation.summary import answer, summarize
from vaezoo.console import parser, print_columns
from vaezoo.errors import InputError
from vaezoo.evaluation.nets.registry import open_nets
from vaezoo.io.files import make_folder
from vaezoo.specs.overrides import parse_settings
from vaezoo.specs.tree import Location, Node, from_plain
from vaezoo.training.recipes import put
from vaezoo.zoo.create import usable_device


def main(arguments: list[str]) -> None:
    options = _options(arguments)
    if options.report:
        check_extra()
    plan = make_plan(check_question(_tree(options)), make_folder(options.out))
    part, parts = _part(options)
    runs = plan.runs[part - 1 :: parts]
    _forget_failed(plan, runs, options)
    manner = _manner(plan, runs, options)
    _measure(plan, parts, options)
    stopped = run_all(plan, runs, manner) if runs else None
    rows = write_tables(plan)
    if stopped:
        print(f"stopped by {stopped}; the same command goes on")
        sys.exit(128 + signal.Signals[stopped])
    _print(plan, rows)
    if options.report:
        _report(plan, rows, shlex.join(["vaezoo", "ablate", *arguments]))
        print(f"written: {options.out / 'report.html'}, report.md, results.csv, results.jsonl")


def _options(arguments: list[str]) -> Namespace:
    arguments_parser = parser("ablate", __doc__)
    add = arguments_parser.add_argument
    add("question", help="a name of configs/ablations, a YAML file, or with --set a network")
    add("--out", type=Path, required=True, help="the folder of runs, results and report")
    add("--set", action="append", default=[], metavar="PATH=V,V,…", help="vary this; several times: all combinations")
    add("--train", metavar="RECIPE", help="train each variant by this recipe")
    add("--train-set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    add("--steps", type=int, help="steps of each training")
    add("--equal", choices=("steps", "flops"), help="what all variants get as much of")
    add("--seeds", type=_numbers, help="such as 0,1: one training each")
    add("--data", help="photos to judge by (default: the samples of the package)")
    add("--sizes", type=_numbers, help="pixels at which costs are counted, such as 256,512")
    add("--measure", metavar="STEP,…", help="of encode, decode, train: measure time and memory of every variant")
    add("--jobs", type=int, default=1, help="runs at a time (default: 1)")
    add("--shard", metavar="I/N", help="of N parts of the runs make only number I, from 1 (torchrun: one each)")
    add("--device", help="cpu, cuda, … (default: a GPU, if there is one)")
    add("--release", action="append", default=[], metavar="HOST", help="take over runs that this host has claimed")
    add("--retry", action="store_true", help="make runs and measurements that failed again")
    add("--no-report", dest="report", action="store_false", help="write the tables only")
    options = arguments_parser.parse_args(arguments)
    if options.jobs < 1:
        raise InputError(f"--jobs {options.jobs}: at least 1")
    return options


def _tree(options: Namespace) -> Node:
    """The question as a file or `--set` says it, with what other options say in its place."""
    if options.set:
        axes = parse_axes(options.set)
        question = f"What does it change to vary {' and '.join(axes.value)} in {options.question}?"
        tree = from_plain({"question": question, "base": options.question}, Location("vaezoo ablate"))
        put(tree, "grid", axes)
    else:
        tree = read_question(options.question)
    given = {"recipe.name": options.train, "evaluation.root": options.data}
    given |= {key: getattr(options, key) for key in ("steps", "equal", "seeds", "sizes")}
    given["measure.what"] = options.measure.split(",") if options.measure else None
    words = {"recipe.name": "--train", "evaluation.root": "--data", "measure.what": "--measure"}
    for path, value in given.items():
        if value is not None:
            put(tree, path, from_plain(value, Location(words.get(path, f"--{path}"))))
    for path, node in parse_settings(options.train_set).items():
        put(tree, "recipe.set", Node({**_settings(tree), path: node}, node.location))
    return tree


def _settings(tree: Node) -> dict[str, Node]:
    """The settings of the recipe that there are already."""
    if not isinstance(tree.value, dict) or "recipe" not in tree.value:
        raise InputError("--train-set changes a recipe; name one with --train")
    recipe = tree.value["recipe"].value
    settings = recipe.get("set") if isinstance(recipe, dict) else None
    return settings.value if settings and isinstance(settings.value, dict) else {}


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _part(options: Namespace) -> tuple[int, int]:
    """Which part of the runs is ours, from 1, and of how many."""
    text = options.shard or f"{int(os.environ.get('RANK', 0)) + 1}/{os.environ.get('WORLD_SIZE', 1)}"
    first, _, count = text.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise InputError(f"--shard {text}: expected I/N, such as 2/8, with I from 1 to N")
    return int(first), int(count)


def _measure(plan: Plan, parts: int, options: Namespace) -> None:
    """Measure what is missing before anything is trained, unless others may train beside it."""
    missing = unmeasured(plan, options.retry) if plan.ablation.measure else []
    if parts == 1:
        measure_all(plan, missing)
    elif missing:
        print(
            f"vaezoo ablate: {len(missing)} measurements left out, because other shards may train beside them; the same"
            " command without --shard or torchrun makes them",
            file=sys.stderr,
        )


def _forget_failed(plan: Plan, runs: tuple[Run, ...], options: Namespace) -> None:
    """Let failed runs be made again, if that is asked for."""
    for run in runs if options.retry else ():
        if (read_result(plan.folder_of(run)) or {}).get("error"):
            (plan.folder_of(run) / RESULT).unlink(missing_ok=True)  # somebody else may be faster


def _manner(plan: Plan, runs: tuple[Run, ...], options: Namespace) -> Manner:
    """How to run; says which of the nets that were asked for are not to be had."""
    if options.device:
        usable_device(options.device)
    nets = plan.ablation.evaluation.nets
    if nets and any(read_result(plan.folder_of(run)) is None for run in runs):
        _, missing = open_nets(nets, "cpu")
        for name, why in missing.items():
            print(f"vaezoo ablate: without {name}: {why}", file=sys.stderr)
        nets = tuple(name for name in nets if name not in missing)
    device = options.device or (f"cuda:{os.environ['LOCAL_RANK']}" if _has_gpu() else None)
    return Manner(options.jobs, device, nets, tuple(options.release))


def _has_gpu() -> bool:
    """Whether this is one process of torchrun's, with a GPU of its own."""
    import torch

    return "LOCAL_RANK" in os.environ and torch.cuda.is_available()


def _report(plan: Plan, rows: list[dict], command: str) -> None:
    """Write the report, and again where a run of somebody else has ended meanwhile: who writes last has all."""
    written: list[dict] | None = None
    while rows != written:
        write_report(plan, rows, command)
        written, rows = rows, write_tables(plan)


def _print(plan: Plan, rows: list[dict]) -> None:
    size, cells = plan.ablation.sizes[0], [["variant", "parameters", f"GMACs at {plan.ablation.sizes[0]}", "PSNR"]]
    for each in summarize(plan, rows):
        psnr = "" if each.mean is None else f"{each.mean:.2f} ({each.low:.2f} to {each.high:.2f})"
        cells.append([each.variant.name, f"{each.costs['params']:,}", f"{each.costs[f'gmacs_{size}']:.3f}", psnr])
    print_columns(cells, right=(1, 2))
    print(f"\n{plan.ablation.question}\n{answer(plan, rows)}")
