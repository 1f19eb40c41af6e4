"""Train a VAE by a recipe (configs/train) into a run folder, which can be loaded and published at any time.

With several processes: torchrun --nproc-per-node=8 -m vaezoo.cli train RECIPE --out RUN
"""

import contextlib
from typing import Any

from vaezoo.console import local_path, parser
from vaezoo.distributed import process_group
from vaezoo.specs.overrides import parse_settings
from vaezoo.training.curves import NO_CURVES, draw_curves
from vaezoo.training.display import Display, closing_text
from vaezoo.training.recipes import read_recipe
from vaezoo.training.run import train
from vaezoo.training.start import check_names
from vaezoo.training.trackers import TRACKERS


def main(arguments: list[str]) -> None:
    """Run `vaezoo train`."""
    arguments_parser = parser("train", __doc__)
    arguments_parser.add_argument("recipe", help="recipe of configs/train, such as quickstart, or a YAML file")
    arguments_parser.add_argument("--out", type=local_path, required=True, help="run folder")
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

    recipe = read_recipe(options.recipe, parse_settings(options.set))
    if not options.resume:  # a run has its network
        check_names(recipe)
    display = Display(recipe)
    with process_group(options.device) as group, contextlib.ExitStack() as stack:
        tracked = options.track and group.is_first
        track = stack.enter_context(TRACKERS[options.track](options.out, recipe)) if tracked else None

        def on_log(line: dict[str, Any]) -> None:
            display.show(line)
            if track:
                track(line)

        report = train(recipe, options.out, group, options.resume, display.message, on_log)
        if group.is_first:
            curves = draw_curves(options.out)
            display.message(closing_text(report, recipe, options.out))
            display.message(f"curves of loss and PSNR: {curves}" if curves else NO_CURVES)
