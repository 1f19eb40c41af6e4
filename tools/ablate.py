"""Answer a question about a network: make variants of it, count their costs, train them, and write a report.

The question is a file (configs/ablations), or a network and what to change in it:

  vaezoo ablate quickstart --out answer
  vaezoo ablate vae_f8_z4 --set "latent.channels=4,8,16" --set "encoder.4.heads,decoder.2.heads=0,1,4" --out costs

A second call makes what is missing.
"""

import os
import shlex
import signal
import sys
from argparse import Namespace

from vaezoo.ablation.measured_costs import FOLDER as MEASURED
from vaezoo.ablation.measured_costs import measure_all, unmeasured
from vaezoo.ablation.plan import AblationPlan, make_plan
from vaezoo.ablation.question import check_question, parse_axes, read_question
from vaezoo.ablation.report import PLOTS, check_extra, write_report
from vaezoo.ablation.run_results import RESULT, ResultRow, is_final, read_result, write_tables
from vaezoo.ablation.runs import RunOptions, make_runs
from vaezoo.ablation.summary import answer, summarize
from vaezoo.console import local_path, parser, print_columns, say
from vaezoo.errors import InputError, TrainingError
from vaezoo.evaluation.nets.registry import open_nets
from vaezoo.io.files import make_folder
from vaezoo.io.temporary import sweep
from vaezoo.jobs.job_engine import add_engine_arguments, chosen_engine
from vaezoo.specs.overrides import parse_settings
from vaezoo.specs.tree import Location, Node, from_plain
from vaezoo.training.recipes import put


def main(arguments: list[str]) -> None:
    options = _options(arguments)
    engine = chosen_engine(options)
    engine.check_device(options.device)
    if options.report:
        check_extra()
    plan = make_plan(check_question(_tree(options)), make_folder(options.out))
    for folder in (plan.folder, plan.folder / MEASURED, plan.folder / PLOTS):
        sweep(folder)
    if options.retry:
        _forget_failed(plan)
    run_options = RunOptions(engine, options.device, _available_nets(plan))
    measure_all(plan, unmeasured(plan, options.retry))
    stopped = make_runs(plan, run_options) if plan.runs else None
    rows = write_tables(plan)
    if stopped:
        say(f"stopped by {stopped}; the same command continues")
        sys.exit(128 + signal.Signals[stopped])
    _print(plan, rows)
    if options.report:
        rows = _report(plan, rows, shlex.join(["vaezoo", "ablate", *arguments]))
        say(f"written: {options.out / 'report.html'}, report.md, results.csv, results.jsonl")
    _check_outcome(plan, rows)


def _options(arguments: list[str]) -> Namespace:
    arguments_parser = parser("ablate", __doc__)
    add = arguments_parser.add_argument
    add("question", help="a name of configs/ablations, a YAML file, or with --set a network")
    add("--out", type=local_path, required=True, help="folder of runs, results and report")
    add("--set", action="append", default=[], metavar="PATH=V,V,…", help="vary this key; several: all combinations")
    add("--train", metavar="RECIPE", help="train each variant with this recipe")
    add("--train-set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    add("--steps", type=int, help="steps of the base's training")
    add("--equal", choices=("steps", "flops"), help="what is equal for all variants")
    add("--seeds", type=_numbers, help="such as 0,1: one training per seed")
    add("--data", help="photos to evaluate on (default: the samples of the package)")
    add("--sizes", type=_numbers, help="pixels per side at which costs are counted, such as 256,512")
    add("--measure", metavar="STEP,…", help="measure time and memory of these steps: encode, decode, train")
    add_engine_arguments(arguments_parser, "runs")
    add("--device", help="cpu, cuda, cuda:1, … (default: a GPU, if there is one)")
    add("--retry", action="store_true", help="repeat runs and measurements that failed")
    add("--no-report", dest="report", action="store_false", help="write the tables only")
    options = arguments_parser.parse_args(arguments)
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise InputError("vaezoo ablate: start it without torchrun; --jobs N runs on N GPUs")
    return options


def _tree(options: Namespace) -> Node:
    """Return the question of a file, or of `--set`, with the keys that other options override."""
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
    """Return the settings of the recipe that the question already has."""
    if not isinstance(tree.value, dict) or "recipe" not in tree.value:
        raise InputError("--train-set changes a recipe; name one with --train")
    recipe = tree.value["recipe"].value
    settings = recipe.get("set") if isinstance(recipe, dict) else None
    return settings.value if settings and isinstance(settings.value, dict) else {}


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _forget_failed(plan: AblationPlan) -> None:
    """Remove the results of failed runs, so that they are made again."""
    for folder in map(plan.folder_of, plan.runs):
        if (read_result(folder) or {}).get("error"):
            (folder / RESULT).unlink(missing_ok=True)  # another process may have removed it meanwhile


def _check_outcome(plan: AblationPlan, rows: list[ResultRow]) -> None:
    """Raise `TrainingError`, which is the exit status of the command, if runs failed."""
    failed = [row for row in rows if row["error"]]
    if failed:
        first = f"{failed[0]['name']}, seed {failed[0]['seed']}: {failed[0]['error']}"
        raise TrainingError(
            f"{len(failed)} of {len(plan.runs)} runs failed, the first: {first}; the same command with --retry repeats"
            " them, and without it those that were killed or ran out of disk or memory"
        )


def _available_nets(plan: AblationPlan) -> tuple[str, ...]:
    """Return the networks that can evaluate the missing runs, and warn about each one that is unavailable."""
    nets = plan.ablation.evaluation.nets
    if not nets or all(is_final(read_result(plan.folder_of(run))) for run in plan.runs):
        return nets
    _, unavailable = open_nets(nets, "cpu")
    for name, reason in unavailable.items():
        say(f"vaezoo ablate: without {name}: {reason}", file=sys.stderr)
    return tuple(name for name in nets if name not in unavailable)


def _report(plan: AblationPlan, rows: list[ResultRow], command: str) -> list[ResultRow]:
    """Write the report, and write it again if another process has ended a run meanwhile; return its rows."""
    written: list[ResultRow] | None = None
    while rows != written:
        write_report(plan, rows, command)
        written, rows = rows, write_tables(plan)
    return rows


def _print(plan: AblationPlan, rows: list[ResultRow]) -> None:
    size, cells = plan.ablation.sizes[0], [["variant", "parameters", f"GMACs at {plan.ablation.sizes[0]}", "PSNR"]]
    for each in summarize(plan, rows):
        psnr = "" if not each.rows else f"{each.mean:.2f} ({each.low:.2f} to {each.high:.2f})"
        cells.append([each.variant.name, f"{each.costs['params']:,}", f"{each.costs[f'gmacs_{size}']:.3f}", psnr])
    print_columns(cells, right=(1, 2))
    say(f"\n{plan.ablation.question}\n{answer(plan, rows)}")
