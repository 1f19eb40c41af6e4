"""Give the model of a run a name: write its network, weights and record to a config folder (docs/extending.md)."""

from pathlib import Path

from vaezoo.console import add_json, local_path, parser, print_json, say
from vaezoo.nn.own_blocks import origins_of
from vaezoo.sharing.adopt import adopt
from vaezoo.training.artifacts import RECIPE
from vaezoo.training.recipes import folder_name, read_recipe
from vaezoo.zoo.create import get_spec


def main(arguments: list[str]) -> None:
    """Run `vaezoo adopt`."""
    arguments_parser = parser("adopt", __doc__)
    arguments_parser.add_argument("run", type=local_path, help="run folder, or another saved folder")
    arguments_parser.add_argument("new_name", metavar="name", help="name to give it, NETWORK.TAG")
    arguments_parser.add_argument(
        "--into", type=local_path, default=Path("configs"), help="config folder (default: configs)"
    )
    arguments_parser.add_argument("--license", required=True, help="license id for the record, such as mit")
    arguments_parser.add_argument("--summary", default="", help="one sentence about the weights, for the record")
    add_json(arguments_parser)
    options = arguments_parser.parse_args(arguments)

    trained_on = ""
    if (options.run / RECIPE).is_file():
        root = read_recipe(options.run / RECIPE).data.root
        trained_on = folder_name(root) if root else "the sample photos of vaezoo"
    written = adopt(
        options.run,
        options.new_name,
        options.into,
        license=options.license,
        summary=options.summary,
        trained_on=trained_on,
    )
    if options.json:
        print_json({"name": options.new_name, "written": [str(path) for path in written]})
        return
    say(f"written: {', '.join(map(str, written))}")
    say(f"use it: vaezoo reconstruct {options.new_name} --config-dir {options.into}{_imports(options.run)}")


def _imports(run: Path) -> str:
    """The arguments that import those blocks of a network that are not part of an installed package."""
    origins = origins_of(get_spec(f"local-dir:{run}")).values()
    modules = dict.fromkeys(origin.module for origin in origins if not origin.package)
    return "".join(f" --import {module}" for module in modules)
