# PYTHON_ARGCOMPLETE_OK
"""The command `vaezoo`: finds a tool, which is a file of `tools/` with a `main(arguments)`, and runs it."""

import ast
import io
import json
import os
import sys
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from vaezoo.errors import UnknownNameError, VaezooError
from vaezoo.io.escape import json_text, terminal_text
from vaezoo.specs.catalog import data_dir
from vaezoo.specs.faults import unknown
from vaezoo.version import __version__


def main(arguments: list[str] | None = None) -> int:
    """Run `vaezoo COMMAND …`.

    Args:
        arguments: Command and its arguments; `None` means those of the process.

    Returns:
        The exit status: 0, 2 after an error, which is printed as one message, or 130 after Ctrl-C.
    """
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without "…" shows a "?"
    command = arguments[0] if arguments else "--help"
    try:
        if command in ("-h", "--help"):
            print(_overview())
        elif command in ("-V", "--version"):
            print(f"vaezoo {__version__}")
        else:
            _run(command, arguments[1:])
    except VaezooError as error:
        if "--json" in arguments:
            report = {"error": {"type": type(error).__name__, "message": str(error), "command": command}}
            print(json_text(json.dumps(report, indent=2, ensure_ascii=False)))
        print(terminal_text(f"vaezoo {command}: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"vaezoo {command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def tools() -> dict[str, Path]:
    """The files of the tools by the names of their commands."""
    return {path.stem: path for path in sorted(data_dir("tools").glob("*.py"))}


def _run(command: str, arguments: list[str]) -> None:
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # huggingface_hub reads it when it is imported
    known = tools()
    if command not in known:
        raise UnknownNameError(f"{unknown(command, known, 'command')} (vaezoo --help)")
    from vaezoo.light_parser import check_arguments  # not above: --version needs none of it

    check_arguments(command, known[command], arguments)
    _load(command, known).main(arguments)


def _complete() -> None:
    """Answer argcomplete, which passes the line up to the cursor in the environment."""
    from vaezoo.light_parser import complete

    words = os.environ.get("COMP_LINE", "")[: int(os.environ.get("COMP_POINT", 0))].split(" ")
    complete(words[1] if len(words) > 2 else None, tools())


def _load(command: str, known: Mapping[str, Path]) -> ModuleType:
    name, path = f"vaezoo_tool_{command}", str(known[command])
    module = ModuleType(name)
    module.__file__ = path
    SourceFileLoader(name, path).exec_module(module)
    return module


def _overview() -> str:
    width = max(map(len, tools()))
    lines = [f"  {name:<{width}}  {_summary(path)}" for name, path in tools().items()]
    return "\n".join(["usage: vaezoo COMMAND …", "", *lines, "", "vaezoo COMMAND --help describes a command."])


def _summary(path: Path) -> str:
    """The first line of a tool's docstring, read without running it."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
