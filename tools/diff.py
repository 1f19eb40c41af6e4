"""Compare two networks row by row with their costs, or two sets of weights of one network."""

import argparse
from dataclasses import asdict

import vaezoo
from vaezoo.analysis.compare import RowChange, TensorChange, compare_specs, compare_weights
from vaezoo.console import add_json, parser, print_columns, print_json, say
from vaezoo.errors import InputError
from vaezoo.specs.names import parse_name
from vaezoo.weights.known_names import check_known
from vaezoo.weights.records import expand_alias


def main(arguments: list[str]) -> None:
    arguments_parser = parser("diff", __doc__)
    arguments_parser.add_argument("a", help="name of a model, hf-hub:…, local-dir:…, file:… or a YAML file")
    arguments_parser.add_argument("b", help="the model to compare it with")
    arguments_parser.add_argument("--size", type=int, default=256, help="image side in pixels for GMACs (default: 256)")
    arguments_parser.add_argument("--count", type=int, default=20, help="tensors to show; 0 shows all (default: 20)")
    add_json(arguments_parser)
    options = arguments_parser.parse_args(arguments)

    if options.size < 1 or options.count < 0:
        raise InputError(f"--size {options.size} --count {options.count}: expected at least 1 pixel and 0 tensors")
    check_known(options.a, pretrained=False)
    check_known(options.b, pretrained=False)
    a, b = _load(options.a), _load(options.b)
    rows = compare_specs(_spec(a), _spec(b), options.size)
    tensors = None
    if isinstance(a, vaezoo.VAE) and isinstance(b, vaezoo.VAE) and a.spec.hash == b.spec.hash:
        tensors = compare_weights(a, b)
    if options.json:
        print_json({"rows": [asdict(row) for row in rows], "tensors": [asdict(tensor) for tensor in tensors or []]})
    elif tensors is not None:
        _print_tensors(tensors, options)
    else:
        _print_rows(rows, options)


def _load(name: str) -> vaezoo.VAE | vaezoo.ModelSpec:
    """The model of a name that includes weights, else the network."""
    parsed = parse_name(name)
    has_weights = expand_alias(parsed).tag is not None if parsed.source == "zoo" else parsed.source != "yaml"
    return vaezoo.create(name, pretrained=True, device="cpu") if has_weights else vaezoo.get_spec(name)


def _spec(model: vaezoo.VAE | vaezoo.ModelSpec) -> vaezoo.ModelSpec:
    return model.spec if isinstance(model, vaezoo.VAE) else model


def _print_rows(rows: list[RowChange], options: argparse.Namespace) -> None:
    if not rows:
        say(f"{options.a} and {options.b} are the same network")
        return
    total = f"{sum(row.params for row in rows):+,}", f"{sum(row.gmacs for row in rows):+.3f}"
    cells = [[row.place, row.block, row.said, f"{row.params:+,}", f"{row.gmacs:+.3f}"] for row in rows]
    head = ["row", "block", f"{options.a} → {options.b}", "parameters", f"GMACs at {options.size}"]
    print_columns([head, *cells, ["all", "", "", *total]], right=(3, 4))


def _print_tensors(tensors: list[TensorChange], options: argparse.Namespace) -> None:
    different = [tensor for tensor in tensors if tensor.largest]
    say(f"one network; {len(different)} of {len(tensors)} tensors differ")
    shown = different[: options.count or None]
    cells = [
        [t.name, "x".join(map(str, t.shape)), f"{t.largest:.3g}", f"{t.mean:.3g}", f"{t.scale:.3g}"] for t in shown
    ]
    if shown:
        print_columns([["tensor", "shape", "largest", "mean", "mean |a|"], *cells], right=(2, 3, 4))
    if len(different) > len(shown):
        say(f"… and {len(different) - len(shown)} more with smaller relative differences (--count 0 shows all)")
