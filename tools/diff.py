"""What differs between two networks row by row, with its cost, or between two sets of weights of one network."""

from dataclasses import asdict

import vaezoo
from vaezoo.analysis.compare import RowChange, TensorChange, compare_specs, compare_weights
from vaezoo.console import add_json, parser, print_columns, print_json
from vaezoo.specs.names import parse_name
from vaezoo.weights.records import expand_alias


def main(arguments: list[str]) -> None:
    arguments_parser = parser("diff", __doc__)
    arguments_parser.add_argument("a", help="a model, hf-hub:…, local-dir:…, file:… or a YAML file")
    arguments_parser.add_argument("b", help="another")
    arguments_parser.add_argument(
        "--size", type=int, default=256, help="pixels per side that GMACs are for (default: 256)"
    )
    arguments_parser.add_argument("--count", type=int, default=20, help="tensors to show (default: 20; 0: all)")
    add_json(arguments_parser)
    options = arguments_parser.parse_args(arguments)

    names = options.a, options.b
    loaded = [vaezoo.create(name, pretrained=True, device="cpu") if _has_weights(name) else None for name in names]
    specs = [vae.spec if vae else vaezoo.get_spec(name) for vae, name in zip(loaded, names, strict=True)]
    rows = compare_specs(*specs, options.size)
    both = None not in loaded and specs[0].hash == specs[1].hash
    tensors = compare_weights(*loaded) if both else []
    if options.json:
        print_json({"rows": [asdict(row) for row in rows], "tensors": [asdict(tensor) for tensor in tensors]})
    elif both:
        _print_tensors(tensors, options)
    else:
        _print_rows(rows, options)


def _has_weights(name: str) -> bool:
    """Whether a name stands for weights, not for a network alone."""
    parsed = parse_name(name)
    return expand_alias(parsed).tag is not None if parsed.source == "zoo" else parsed.source != "yaml"


def _print_rows(rows: list[RowChange], options) -> None:
    if not rows:
        print(f"{options.a} and {options.b} are the same network")
        return
    total = f"{sum(row.params for row in rows):+,}", f"{sum(row.gmacs for row in rows):+.3f}"
    cells = [[row.place, row.block, row.said, f"{row.params:+,}", f"{row.gmacs:+.3f}"] for row in rows]
    head = ["row", "block", f"{options.a} → {options.b}", "parameters", f"GMACs at {options.size}"]
    print_columns([head, *cells, ["all", "", "", *total]], right=(3, 4))


def _print_tensors(tensors: list[TensorChange], options) -> None:
    different = [tensor for tensor in tensors if tensor.largest]
    print(f"one network; {len(different)} of {len(tensors)} tensors differ")
    shown = different[: options.count or None]
    cells = [
        [t.name, "x".join(map(str, t.shape)), f"{t.largest:.3g}", f"{t.mean:.3g}", f"{t.scale:.3g}"] for t in shown
    ]
    if shown:
        print_columns([["tensor", "shape", "largest", "mean", "mean |a|"], *cells], right=(2, 3, 4))
    if len(different) > len(shown):
        print(f"… and {len(different) - len(shown)} more, which differ less for their size (--count 0 shows all)")
