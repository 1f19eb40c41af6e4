"""List the networks of the zoo and their weights."""

import vaezoo
from vaezoo.console import add_json, parser, print_columns, print_json
from vaezoo.specs.catalog import facts
from vaezoo.weights.records import read_records


def main(arguments: list[str]) -> None:
    arguments_parser = parser("list", __doc__)
    arguments_parser.add_argument("pattern", nargs="?", default="*", help='wildcards, such as "vae_f8*"')
    arguments_parser.add_argument("--pretrained", action="store_true", help="only networks that have weights")
    add_json(arguments_parser)
    options = arguments_parser.parse_args(arguments)

    rows = [_row(name) for name in vaezoo.list_models(options.pattern)]
    rows = [row for row in rows if row["weights"] or not options.pretrained]
    if options.json:
        print_json(rows)
        return
    cells = [
        [r["name"], r["downscale"], r["latent_channels"], _millions(r["params"]), ", ".join(r["weights"])] for r in rows
    ]
    print_columns([["network", "f", "z", "params", "weights"], *cells], right=(1, 2, 3))


def _row(name: str) -> dict:
    default, tagged = read_records(name)
    tags = [tag for tag, entry in tagged.items() if entry.record.loadable]
    return {**facts(name)._asdict(), "weights": sorted(tags, key=lambda tag: tag != default)}


def _millions(params: int | None) -> str:
    return "" if params is None else f"{params / 1e6:.2f} M"
