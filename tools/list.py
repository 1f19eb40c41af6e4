"""List the networks of the zoo and their weights."""

import argparse
import re
from typing import Any

import vaezoo
from vaezoo.console import add_json, parser, print_columns, print_json, say
from vaezoo.formats.layouts import LAYOUTS
from vaezoo.specs.listing import facts
from vaezoo.weights.records import is_of, read_records

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}


def main(arguments: list[str]) -> None:
    arguments_parser = parser("list", __doc__)
    add = arguments_parser.add_argument
    add("pattern", nargs="?", default="*", help='names with shell wildcards, such as "vae_f8*" (default: all)')
    add("--pretrained", action="store_true", help="only networks with weights that can be loaded")
    add("--license", help="only networks with weights of this license, and only those weights")
    add("--layout", choices=LAYOUTS, help="only networks with weights in this layout, and only those weights")
    add("--latent-channels", type=int, metavar="Z", help="only networks with this number of latent channels")
    add("--downscale", type=int, metavar="F", help="only networks that divide height and width by this number")
    add("--min-params", type=_count, metavar="N", help="only networks with at least this many parameters, such as 1.5M")
    add("--max-params", type=_count, metavar="N", help="only networks with at most this many parameters, such as 100M")
    add_json(arguments_parser)
    options = arguments_parser.parse_args(arguments)

    names = vaezoo.list_models(
        options.pattern,
        latent_channels=options.latent_channels,
        downscale=options.downscale,
        min_params=options.min_params,
        max_params=options.max_params,
    )
    rows = [_row(name, options.license, options.layout) for name in names]
    if options.license is not None or options.layout is not None:
        rows = [row for row in rows if row["weights"] or row["not_loadable"]]
    if options.pretrained:
        rows = [row for row in rows if row["weights"]]
    if options.json:
        print_json(rows)
        return
    cells = [[r["name"], r["downscale"], r["latent_channels"], _millions(r["params"]), _tags(r)] for r in rows]
    print_columns([["network", "f", "z", "params", "weights"], *cells], right=(1, 2, 3))
    if any(row["not_loadable"] for row in rows):
        say("\n(in brackets: recorded, but published in a format that can run code, which vaezoo does not load)")


def _row(name: str, license: str | None, layout: str | None) -> dict[str, Any]:
    default, tagged = read_records(name)
    fitting = [t for t in tagged.values() if not t.record.removed_in and is_of(t.record, license, layout)]
    fitting.sort(key=lambda t: t.tag != default)
    weights = [t.tag for t in fitting if t.record.loadable]
    others = [t.tag for t in fitting if not t.record.loadable]
    return {**facts(name)._asdict(), "weights": weights, "not_loadable": others}


def _tags(row: dict[str, Any]) -> str:
    return ", ".join([*row["weights"], *(f"({tag})" for tag in row["not_loadable"])])


def _count(text: str) -> int:
    """Parse a count such as 83653863, 100M or 1.5B."""
    parts = re.fullmatch(r"(\d{1,18}|\d{1,6}\.\d{1,6})([KMB]?)", text.upper())
    if parts is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a count such as 500K, 100M or 1.5B")
    return round(float(parts[1]) * _UNITS[parts[2]])


def _millions(params: int | None) -> str:
    return "" if params is None else f"{params / 1e6:.2f} M"
