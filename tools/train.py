"""Train a VAE by a recipe (configs/train/*.yaml) into a run folder, which is a published folder all the while.

With several GPUs or processes: torchrun --nproc-per-node=8 -m vaezoo.cli train RECIPE --out RUN
"""

from pathlib import Path

from vaezoo.console import parser
from vaezoo.specs.overrides import parse_settings
from vaezoo.training.ranks import joined
from vaezoo.training.recipes import read_recipe
from vaezoo.training.run import train


def main(arguments: list[str]) -> None:
    arguments_parser = parser("train", __doc__)
    arguments_parser.add_argument("recipe", help="a name of configs/train, such as quickstart, or a YAML file")
    arguments_parser.add_argument("--out", type=Path, required=True, help="the run folder")
    arguments_parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe, such as data.root=photos"
    )
    arguments_parser.add_argument("--resume", action="store_true", help="go on from the run's last checkpoint")
    arguments_parser.add_argument("--device", help="cpu, cuda (default: this process's GPU if there is one)")
    options = arguments_parser.parse_args(arguments)

    recipe = read_recipe(options.recipe, parse_settings(options.set))
    with joined(options.device) as ranks:
        report = train(recipe, options.out, ranks, options.resume, show=print)
    print(report)
