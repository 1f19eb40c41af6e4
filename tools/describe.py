"""Show a network row by row: shapes, parameters, GMACs, and its weights."""

import re
from collections.abc import Mapping
from typing import Any

import vaezoo
from vaezoo.console import add_json, parser, print_columns, print_json, say
from vaezoo.errors import InputError
from vaezoo.nn.blocks import BLOCKS
from vaezoo.nn.schema import change_spec
from vaezoo.specs.overrides import parse_settings
from vaezoo.specs.render import own_arguments, shared_arguments, to_yaml


def main(arguments: list[str]) -> None:
    arguments_parser = parser("describe", __doc__)
    arguments_parser.add_argument("name", help="name of a model, hf-hub:…, local-dir:… or a YAML file")
    arguments_parser.add_argument("--size", default="256", help="image size in pixels, or HEIGHTxWIDTH (default: 256)")
    arguments_parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change the network, such as latent.channels=16; may be repeated",
    )
    arguments_parser.add_argument("--yaml", action="store_true", help="print the network as YAML instead")
    add_json(arguments_parser)
    options = arguments_parser.parse_args(arguments)

    size = _size(options.size)
    changed = change_spec(vaezoo.get_spec(options.name), parse_settings(options.set)) if options.set else None
    if options.yaml:
        say(to_yaml(changed or vaezoo.get_spec(options.name), BLOCKS), end="")
        return
    description = vaezoo.describe(changed or options.name, *size)
    if options.json:
        print_json(description.to_dict())
    else:
        _print(description)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not re.fullmatch(r"[1-9]\d{0,4}(x[1-9]\d{0,4})?", text):
        raise InputError(f"--size {text}: expected pixels such as 256 or 512x768")
    return int(height), int(width or height)


def _print(description: vaezoo.Description) -> None:
    costs, spec = description.costs, description.spec
    say(f"{description.name}: {spec.summary}")
    say(f"{costs.height}x{costs.width} pixels, spec {spec.hash[:12]}")
    if description.source:
        say(f"weights: {description.source}")
    shared = shared_arguments(spec, BLOCKS)
    say(f"shared by all rows that have them: {_text(shared)}\n" if shared else "")
    rows = [["row", "block", "arguments", "C x H x W", "parameters", "GMACs"]]
    for row, spec_row in zip(costs.rows, (*spec.encoder, *spec.decoder), strict=True):
        shape = " x ".join(map(str, row.shape))
        own = _text(own_arguments(spec_row, shared))
        rows.append([f"{row.half}.{row.index}", row.block, own, shape, f"{row.params:,}", f"{row.gmacs:.3f}"])
    for half in ("encoder", "decoder"):
        rows.append([half, "", "", "", f"{costs.params(half):,}", f"{costs.gmacs(half):.3f}"])
    rows.append(["both", "", "", "", f"{costs.params():,}", f"{costs.gmacs():.3f}"])
    print_columns(rows, right=(4, 5))
    for tagged in description.weights:
        record = tagged.record
        say(f"\n{tagged.name}: {record.summary or 'weights'} License {record.license}.")
        if record.metrics:
            m = record.metrics
            say(f"  PSNR {m.psnr:.2f} dB ({m.images} images of {m.data}, protocol {m.protocol})")
        if record.latent_stats and record.latent_stats.size:
            say(f"  latent statistics measured on images of {record.latent_stats.size} pixels per side")


def _text(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in arguments.items())
