"""Convert a weights file between layouts, or to another floating type."""

import argparse
import os
import tempfile
from pathlib import Path

import vaezoo
from vaezoo.console import parser
from vaezoo.errors import CheckpointError
from vaezoo.formats.layouts import LAYOUTS
from vaezoo.io.files import make_folder
from vaezoo.nn.dtypes import DTYPES
from vaezoo.weights.header import weights_files
from vaezoo.weights.pickles import from_pickle


def main(arguments: list[str]) -> None:
    arguments_parser = parser("convert", __doc__)
    arguments_parser.add_argument(
        "input", help="a safetensors file, two files as ENCODER,DECODER, or the name of a model with weights"
    )
    arguments_parser.add_argument("output", help="the file to write; with --to taesd two files, ENCODER,DECODER")
    arguments_parser.add_argument("--to", choices=LAYOUTS, default="native", help="layout to write (default: native)")
    arguments_parser.add_argument(
        "--layout", choices=["auto", *LAYOUTS], default="auto", help="layout of the input (default: recognized)"
    )
    arguments_parser.add_argument("--network", help="network of the input, if names and shapes do not determine it")
    arguments_parser.add_argument("--tag", help="recorded weights that the input is, for its latent statistics")
    arguments_parser.add_argument("--dtype", choices=DTYPES, help="dtype to write (default: that of the input)")
    arguments_parser.add_argument(
        "--from-pickle",
        action="store_true",
        help="the input is a .ckpt, .pt, .pth or .bin, which is read with weights_only=True",
    )
    options = arguments_parser.parse_args(arguments)

    with tempfile.TemporaryDirectory() as temporary:
        source = _from_pickles(options.input, Path(temporary)) if options.from_pickle else options.input
        try:
            vae = _load(source, options)
        except CheckpointError as error:  # the user knows the pickle, not the temporary file
            raise CheckpointError(str(error).replace(source, options.input)) from error
        dtype = DTYPES[options.dtype] if options.dtype else None
        vaezoo.export_checkpoint(vae, options.output, layout=options.to, dtype=dtype)
    print(f"written: {options.output} ({vae.spec.name}, layout {options.to})")
    if vae.latent_stats and vae.latent_stats.var and LAYOUTS[options.to].statistics is None:
        print("not written: the statistics of the packed latents, which this layout does not store")


def _load(source: str, options: argparse.Namespace) -> vaezoo.VAE:
    is_file = all(str(file).endswith(".safetensors") or os.path.isfile(file) for file in weights_files(source))
    return vaezoo.create(
        f"file:{source}" if is_file else source,
        pretrained=True,
        network=options.network,
        tag=options.tag,
        layout=options.layout,
        dtype=None,
    )


def _from_pickles(path: str, folder: Path) -> str:
    """Convert each pickle to a safetensors file in `folder`; returns their paths, joined by commas."""
    written = []
    for number, file in enumerate(weights_files(path)):
        written.append(str(make_folder(folder / str(number)) / f"{file.stem}.safetensors"))
        count = from_pickle(file, written[-1])
        print(f"read as a pickle with weights_only=True: {file} ({count} tensors)")
    return ",".join(written)
