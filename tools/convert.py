"""Convert a weights file between layouts, or to another floating type."""

import argparse
import logging
from collections.abc import Iterable
from pathlib import Path

import vaezoo
from vaezoo.console import parser, say
from vaezoo.errors import CheckpointError, FileError, InputError
from vaezoo.formats.layouts import LAYOUTS
from vaezoo.io.files import make_folder
from vaezoo.io.temporary import scratch_folder
from vaezoo.nn.dtypes import DTYPES
from vaezoo.weights.header import weights_files
from vaezoo.weights.header_diff import shown
from vaezoo.weights.known_names import is_weights_file
from vaezoo.weights.load import logger
from vaezoo.weights.pickles import from_pickle


class _Says(logging.Handler):
    """Prints what is logged about a file, such as the names that its layout leaves out.

    Args:
        path: The file that is read.
        name: What to call it.
    """

    def __init__(self, path: str, name: str) -> None:
        super().__init__(logging.INFO)
        self.path, self.called = path, name

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage().replace(self.path, self.called))


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
        help="the input is a .ckpt, .pt, .pth or .bin, whose tensors are read without running code in it",
    )
    arguments_parser.add_argument(
        "--key",
        help="the tensors of a pickle to take, such as model or ema.state_dict (default: averaged weights, if any)",
    )
    options = arguments_parser.parse_args(arguments)
    if options.key is not None and not options.from_pickle:
        raise InputError("--key chooses tensors of a pickle; add --from-pickle, or remove it")

    for file in weights_files(options.output):
        if not file.parent.is_dir():
            raise FileError(f"{file}: cannot be written (there is no folder {file.parent})")
    if LAYOUTS[options.to].two_files != (len(weights_files(options.output)) == 2):
        wanted = "two files, ENCODER,DECODER" if LAYOUTS[options.to].two_files else "one file"
        raise InputError(f"{options.output}: layout {options.to} is {wanted}")
    with scratch_folder() as temporary:
        source = _from_pickles(options.input, temporary, options.key) if options.from_pickle else options.input
        says, level = _Says(source, options.input), logger.level
        logger.addHandler(says)
        logger.setLevel(logging.INFO)
        try:
            vae = _load(source, options)
        except CheckpointError as error:  # the user knows the pickle, not the temporary file
            raise CheckpointError(str(error).replace(source, options.input)) from error
        finally:
            logger.removeHandler(says)
            logger.setLevel(level)
        dtype = DTYPES[options.dtype] if options.dtype else None
        vaezoo.export_checkpoint(vae, options.output, layout=options.to, dtype=dtype)
    say(f"written: {options.output} ({vae.spec.name}, layout {options.to})")
    if vae.latent_stats and vae.latent_stats.var and LAYOUTS[options.to].statistics is None:
        say("not written: the statistics of the packed latents, which this layout does not store")


def _load(source: str, options: argparse.Namespace) -> vaezoo.VAE:
    return vaezoo.create(
        f"file:{source}" if is_weights_file(source) else source,
        pretrained=True,
        network=options.network,
        tag=options.tag,
        layout=options.layout,
        dtype=None,
    )


def _from_pickles(path: str, folder: Path, key: str | None) -> str:
    """Convert each pickle to a safetensors file in `folder`; returns their paths, joined by commas."""
    written = []
    for number, file in enumerate(weights_files(path)):
        written.append(str(make_folder(folder / str(number)) / f"{file.stem}.safetensors"))
        found = from_pickle(file, written[-1], key)
        say(f"taken from {file}: {found.taken}")
        if found.left:
            say(f"left: {_some(found.left)}; choose with --key")
        if found.stand_ins:
            say(f"not built: {_some(map(shown, found.stand_ins))}")
    return ",".join(written)


def _some(items: Iterable[object]) -> str:
    """List items, at most eight of them."""
    texts = [str(item) for item in items]
    more = f" and {len(texts) - 8} more" if len(texts) > 8 else ""
    return ", ".join(texts[:8]) + more
