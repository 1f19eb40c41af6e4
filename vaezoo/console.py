"""Shared by the commands: arguments for models, aligned columns, JSON, progress bars."""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

from tqdm import tqdm

from vaezoo.errors import InputError
from vaezoo.io.escape import json_text, terminal_text
from vaezoo.specs.catalog import add_config_dir
from vaezoo.specs.extensions import import_module

if TYPE_CHECKING:
    from vaezoo.nn.vae import VAE

T = TypeVar("T")
DTYPE_NAMES = ("fp32", "bf16", "fp16")  # those of `vaezoo.nn.dtypes`, which imports torch
MAX_SIZE = 16_384  # the largest image side that commands accept, in pixels


def local_path(text: str) -> Path:
    """Argument type for paths, in which `~` is the home folder: the shell does not expand it in `--out=~/run`."""
    return Path(os.path.expanduser(text))


class _Parser(argparse.ArgumentParser):
    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(terminal_text(message), file)  # it repeats what it does not understand

    def error(self, message: str) -> NoReturn:
        """Raise `InputError` for wrong arguments, which is one message like any other error."""
        raise InputError(f"{message}; `{self.prog} --help` describes the arguments")


def parser(command: str, doc: str | None) -> argparse.ArgumentParser:
    """Create the argument parser of `vaezoo COMMAND`, with the docstring of the tool as description."""
    made = _Parser(prog=f"vaezoo {command}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    own = made.add_argument_group("your own networks and blocks (docs/extending.md)")
    own.add_argument("--config-dir", action=_AddConfigDir, metavar="FOLDER", help="add a folder with models/*.yaml")
    own.add_argument("--import", action=_ImportModule, metavar="MODULE", help="import a module that registers blocks")
    return made


class _AddConfigDir(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        add_config_dir(values)


class _ImportModule(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        import_module(values)


def add_model_arguments(arguments: argparse.ArgumentParser) -> None:
    """Add `--device`, `--dtype`, `--fast` and `--tile`."""
    arguments.add_argument("--device", default="cpu", help="device to run on, such as cuda or mps (default: cpu)")
    arguments.add_argument("--dtype", choices=DTYPE_NAMES, help="precision to run in (default: fp32)")
    add_fast_and_tile(arguments)


def add_fast_and_tile(arguments: argparse.ArgumentParser) -> None:
    """Add `--fast` and `--tile`."""
    arguments.add_argument("--fast", action="store_true", help="run as fast as this device can, in bf16 if that helps")
    arguments.add_argument(
        "--tile", type=_tile, metavar="PIXELS", help="compute strips of this height, exactly; auto goes by free memory"
    )


def add_json(arguments: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    arguments.add_argument("--json", action="store_true", help="print one JSON object instead")


def add_bad(arguments: argparse.ArgumentParser) -> None:
    """Add `--bad`."""
    text = "photos that cannot be read (default: skip them, and list them at the end)"
    arguments.add_argument("--bad", choices=("skip", "refuse"), default="skip", help=text)


def check_model(*names: str) -> None:
    """Check that names stand for models with weights, before anything is loaded or fetched; see `check_known`."""
    from vaezoo.weights.known_names import check_known

    for name in names:
        check_known(name)


def pretrained(name: str, options: argparse.Namespace) -> "VAE":
    """Create a model with its weights, on the device and in the dtype of the options."""
    from vaezoo.nn.dtypes import DTYPES
    from vaezoo.zoo.create import create

    vae = create(name, pretrained=True, device=options.device, dtype=DTYPES[options.dtype or "fp32"])
    if not options.fast and options.tile is None:
        return vae
    from vaezoo.inference.optimize import optimize

    dtype = options.dtype or ("auto" if options.fast else "fp32")
    return optimize(vae, dtype, fuse=options.fast, tile=options.tile, keep_memory=True)


def _tile(text: str) -> int | str:
    """The value of `--tile`."""
    if text == "auto":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of pixels nor auto")
    return int(text)


def say(text: str = "", end: str = "\n", file: TextIO | None = None) -> None:
    """Print text, which may hold names of files and texts of others, with its control characters escaped.

    Args:
        text: The text; its newlines and tabs stay.
        end: What follows it.
        file: Where to print; `None` means standard output.
    """
    print(terminal_text(text), end=end, file=file, flush=True)


def say_above_bar(text: str) -> None:
    """Print a line on standard output while a progress bar may be shown."""
    with tqdm.external_write_mode(file=sys.stdout):
        say(text)


def print_json(data: Any) -> None:
    """Print plain data as indented JSON."""
    print(json_text(json.dumps(data, indent=2, default=str, ensure_ascii=False)))


def print_columns(rows: Sequence[Sequence[object]], right: Sequence[int] = ()) -> None:
    """Print rows of cells in aligned columns; columns with an index in `right` are right-aligned."""
    cells = [[terminal_text(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = (c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        print("  ".join(line).rstrip())


def progress(items: Iterable[T], label: str) -> Iterable[T]:
    """The items, with a progress bar after one second if standard error is a terminal."""
    return tqdm(items, desc=terminal_text(label), delay=1, leave=False, disable=not sys.stderr.isatty())


@contextlib.contextmanager
def work_bar(label: str) -> Iterator[Callable[[float], object]]:
    """A progress bar like that of `progress` for one long piece of work.

    Args:
        label: What the work is on.

    Yields:
        Function that takes shares of the work as they are done; all together are 1.
    """
    form = "{l_bar}{bar}| {elapsed}<{remaining}"
    with tqdm(
        desc=terminal_text(label), total=1.0, delay=1, leave=False, disable=not sys.stderr.isatty(), bar_format=form
    ) as bar:
        yield bar.update
