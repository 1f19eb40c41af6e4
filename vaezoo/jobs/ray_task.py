"""A job inside a Ray task, on any machine of the cluster."""

import contextlib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path


def run_here(module: str, arguments: Sequence[str], output: str) -> int:
    """Call the `main` of a module as a process of its own would.

    Args:
        module: Dotted name of the module.
        arguments: Arguments of `main`.
        output: File that standard output and standard error are appended to.

    Returns:
        What `main` returns or exits with, or minus the number of SIGINT if the task was canceled and `main` did not
        handle it.
    """
    with _output_to(Path(output)):
        try:
            return int(importlib.import_module(module).main(list(arguments)))
        except SystemExit as error:
            if isinstance(error.code, str):
                print(error.code, file=sys.stderr)
                return 1
            return error.code or 0
        except KeyboardInterrupt:
            return -signal.SIGINT
        except BaseException:
            traceback.print_exc()
            raise


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Append what this process prints to a file, also what libraries in C print."""
    kept = [(number, os.dup(number)) for number in (1, 2)]
    with path.open("ab") as file:
        for number, _ in kept:
            os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
