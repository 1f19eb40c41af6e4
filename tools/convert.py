"""Convert a weights file between layouts, or to another floating type."""

import os
from pathlib import Path

import torch

import vaezoo
from vaezoo.console import DTYPES, parser
from vaezoo.weights.layouts import LAYOUTS


def main(arguments: list[str]) -> None:
    arguments_parser = parser("convert", __doc__)
    arguments_parser.add_argument("input", help="a safetensors file, or the name of a model with weights")
    arguments_parser.add_argument("output", type=Path, help="the file to write")
    arguments_parser.add_argument("--to", choices=LAYOUTS, default="native", help="layout to write (default: native)")
    arguments_parser.add_argument("--layout", default="auto", help="layout of the input (default: found by its names)")
    arguments_parser.add_argument("--network", help="its network, where names and shapes do not tell")
    arguments_parser.add_argument("--tag", help="the weights on record that it is, where they do not tell")
    arguments_parser.add_argument("--dtype", choices=DTYPES, help="floating type to write (default: the input's)")
    options = arguments_parser.parse_args(arguments)

    is_file = options.input.endswith(".safetensors") or os.path.isfile(options.input)
    name = f"file:{options.input}" if is_file else options.input
    told = {"layout": options.layout, "network": options.network, "tag": options.tag}
    vae = vaezoo.create(name, pretrained=True, dtype=None, **told)
    dtype = getattr(torch, DTYPES[options.dtype]) if options.dtype else None
    vaezoo.export_checkpoint(vae, options.output, layout=options.to, dtype=dtype)
    print(f"written: {options.output} ({vae.spec.name}, layout {options.to})")
