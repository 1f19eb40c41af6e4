"""Train a VAE by a recipe (configs/train) into a run folder, which can be loaded and published at any time.

A run folder in place of the recipe is trained longer: RUN --steps 20000 continues in it, and with --out NEW a new run
starts from its weights. With several processes: torchrun --nproc-per-node=8 -m vaezoo.cli train RECIPE --out RUN
"""

import argparse
import contextlib
from pathlib import Path
from typing import Any

from vaezoo.console import local_path, parser
from vaezoo.distributed import process_group
from vaezoo.errors import InputError
from vaezoo.specs.overrides import parse_settings
from vaezoo.specs.tree import Location, from_plain
from vaezoo.training.curves import NO_CURVES, draw_curves
from vaezoo.training.display import Display, closing_text
from vaezoo.training.longer import recipe_of_run
from vaezoo.training.recipe_schema import Recipe
from vaezoo.training.recipes import read_recipe
from vaezoo.training.run import train
from vaezoo.training.start import check_names
from vaezoo.training.trackers import TRACKERS


def main(arguments: list[str]) -> None:
    """Run `vaezoo train`."""
    arguments_parser = parser("train", __doc__)
    arguments_parser.add_argument(
        "recipe", help="recipe of configs/train, such as quickstart, a YAML file, or a run folder to train longer"
    )
    arguments_parser.add_argument("--out", type=local_path, help="run folder (default: the run folder to train longer)")
    arguments_parser.add_argument("--steps", type=int, help="number of steps; the same as --set steps=N")
    arguments_parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change the recipe, such as data.root=photos",
    )
    arguments_parser.add_argument(
        "--resume", action="store_true", help="continue from the last checkpoint in the folder"
    )
    arguments_parser.add_argument("--device", help="cpu, cuda, … (default: the GPU of this process if there is one)")
    arguments_parser.add_argument("--track", choices=TRACKERS, help="also send the log to this experiment tracker")
    options = arguments_parser.parse_args(arguments)

    recipe, run = _recipe(options)
    if not options.resume:  # a run has its network
        check_names(recipe)
    display = Display(recipe)
    with process_group(options.device) as group, contextlib.ExitStack() as stack:
        tracked = options.track and group.is_first
        track = stack.enter_context(TRACKERS[options.track](run, recipe)) if tracked else None

        def on_log(line: dict[str, Any]) -> None:
            display.show(line)
            if track:
                track(line)

        report = train(recipe, run, group, options.resume, display.message, on_log)
        if group.is_first:
            curves = draw_curves(run)
            display.message(closing_text(report, recipe, run))
            display.message(f"curves of loss and PSNR: {curves}" if curves else NO_CURVES)


def _recipe(options: argparse.Namespace) -> tuple[Recipe, Path]:
    """The recipe and the run folder; sets `resume` if a run is trained longer in its own folder."""
    settings = parse_settings(options.set)
    if options.steps is not None:
        settings["steps"] = from_plain(options.steps, Location("--steps"))
    folder = local_path(options.recipe)
    if folder.is_dir():
        anew = options.out is not None and options.out.resolve() != folder.resolve()
        if not (anew and options.resume):
            options.resume = options.resume or not anew
            return recipe_of_run(folder, settings, anew), options.out or folder
        raise InputError(
            f"{folder}: a new run from its weights is resumed by its own folder: vaezoo train {options.out}"
        )
    if options.out is None:
        raise InputError("--out: name the run folder")
    return read_recipe(options.recipe, settings), options.out
