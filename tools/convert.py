"""Convert a weights file between layouts, or to another floating type."""

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
        "input", help="a safetensors file, two as ENCODER,DECODER, or the name of a model with weights"
    )
    arguments_parser.add_argument("output", help="the file to write; with --to taesd two, ENCODER,DECODER")
    arguments_parser.add_argument("--to", choices=LAYOUTS, default="native", help="layout to write (default: native)")
    arguments_parser.add_argument(
        "--layout", choices=["auto", *LAYOUTS], default="auto", help="layout of the input (default: found by its names)"
    )
    arguments_parser.add_argument("--network", help="its network, where names and shapes do not tell")
    arguments_parser.add_argument("--tag", help="the weights on record that it is, where they do not tell")
    arguments_parser.add_argument("--dtype", choices=DTYPES, help="floating type to write (default: the input's)")
    arguments_parser.add_argument(
        "--from-pickle",
        action="store_true",
        help="the input is a .ckpt, .pt, .pth or .bin; read with weights_only=True",
    )
    options = arguments_parser.parse_args(arguments)

    with tempfile.TemporaryDirectory() as temporary:
        source = _from_pickles(options.input, Path(temporary)) if options.from_pickle else options.input
        told = {"layout": options.layout, "network": options.network, "tag": options.tag}
        try:
            vae = _load(source, told)
        except CheckpointError as error:  # people know their file, not ours
            raise CheckpointError(str(error).replace(source, options.input)) from error
        dtype = DTYPES[options.dtype] if options.dtype else None
        vaezoo.export_checkpoint(vae, options.output, layout=options.to, dtype=dtype)
    print(f"written: {options.output} ({vae.spec.name}, layout {options.to})")
    if vae.latent_stats and vae.latent_stats.var and LAYOUTS[options.to].statistics is None:
        print("not written: the statistics of its packed latents, which this layout does not keep")


def _load(source: str, told: dict[str, str | None]) -> vaezoo.VAE:
    is_file = all(str(file).endswith(".safetensors") or os.path.isfile(file) for file in weights_files(source))
    return vaezoo.create(f"file:{source}" if is_file else source, pretrained=True, dtype=None, **told)


def _from_pickles(path: str, folder: Path) -> str:
    """Each pickle as a safetensors file of its own name in `folder`; returns what stands for them all."""
    written = []
    for number, file in enumerate(weights_files(path)):
        written.append(str(make_folder(folder / str(number)) / f"{file.stem}.safetensors"))
        count = from_pickle(file, written[-1])
        print(f"read as a pickle with weights_only=True: {file} ({count} tensors)")
    return ",".join(written)
