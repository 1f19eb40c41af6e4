"""What the tools share: arguments for models, columns, progress bars."""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

if TYPE_CHECKING:
    from vaezoo.nn.vae import VAE

T = TypeVar("T")
MAX_SIZE = 16_384  # pixels per side that a command will try


def parser(command: str, doc: str | None) -> argparse.ArgumentParser:
    """An argument parser for `vaezoo <command>`, described by the tool's docstring."""
    return argparse.ArgumentParser(
        prog=f"vaezoo {command}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_model_arguments(arguments: argparse.ArgumentParser) -> None:
    """`--device` and `--dtype`."""
    from vaezoo.nn.dtypes import DTYPES  # here, because it loads torch, which `vaezoo list` does without

    arguments.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, mps")
    arguments.add_argument("--dtype", choices=DTYPES, default="fp32", help="precision to run in (default: fp32)")


def add_json(arguments: argparse.ArgumentParser) -> None:
    """`--json`."""
    arguments.add_argument("--json", action="store_true", help="print one JSON object instead")


def pretrained(name: str, options: argparse.Namespace) -> "VAE":
    """The model of that name with its weights, on the device and in the dtype that the options ask for."""
    from vaezoo.nn.dtypes import DTYPES
    from vaezoo.zoo.create import create

    return create(name, pretrained=True, device=options.device, dtype=DTYPES[options.dtype])


def print_json(data: Any) -> None:
    """Plain data as indented JSON."""
    print(json.dumps(data, indent=2, default=str, ensure_ascii=False))


def print_columns(rows: Sequence[Sequence[object]], right: Sequence[int] = ()) -> None:
    """Rows of cells in aligned columns; those with an index in `right` are set flush right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = (c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        print("  ".join(line).rstrip())


def progress(items: Iterable[T], label: str) -> Iterable[T]:
    """The items, with a progress bar on a terminal's standard error once it takes more than a second."""
    return tqdm(items, desc=label, delay=1, leave=False, disable=not sys.stderr.isatty())
