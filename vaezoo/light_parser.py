"""The arguments of a tool, read from its source: for completion and for errors that need no PyTorch to be found."""

import argparse
import ast
import functools
import glob
import importlib.util
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vaezoo import console
from vaezoo.data.photo_source import check_source
from vaezoo.errors import FileError, InputError
from vaezoo.specs.catalog import config_file, files
from vaezoo.specs.listing import list_models
from vaezoo.weights.known_names import check_known, is_weights_file
from vaezoo.weights.records import list_pretrained

MODELS = ("name", "names", "model", "a", "b")  # arguments that are names of models
# Arguments that are files or folders to read.
PATHS = ("image", "images", "first", "second", "run", "folder", "check", "peek", "source")
CONFIGS = {"recipe": "train", "question": "ablations"}  # arguments that are names of files in a folder of `configs`
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_KEPT = ("action", "nargs", "dest", "required", "metavar")


def light_parser(command: str, path: Path) -> argparse.ArgumentParser:
    """Create a parser with the arguments of a tool but without types, defaults and help, which its code computes.

    Args:
        command: Name of the tool.
        path: Its source, in which every call of `add` or `add_argument` begins with constants.
    """
    return _parser_of(command, path, _parsing_functions(path)[0])


def _parser_of(command: str, path: Path, function: ast.FunctionDef) -> argparse.ArgumentParser:
    parser = console.parser(command, None)
    for call in _added(function, _tree(path)):
        added = parser.add_argument(*_flags(call), **_options(call))
        if added.dest in MODELS:
            added.completer = _complete_model  # type: ignore[attr-defined]  # which argcomplete reads
        elif added.dest in CONFIGS:
            added.completer = functools.partial(_complete_config, CONFIGS[added.dest])  # type: ignore[attr-defined]
    return parser


def _added(function: ast.FunctionDef, module: ast.Module) -> Iterator[ast.Call]:
    """Iterate over the calls that add an argument, also those in functions such as `add_json` that are called."""
    for call in sorted(_calls(function), key=lambda node: node.lineno):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name in ("add", "add_argument"):
            if _flags(call):
                yield call
        elif name.startswith("add_") and (found := _find(name, module)):
            yield from _added(*found)


def _find(name: str, module: ast.Module) -> tuple[ast.FunctionDef, ast.Module] | None:
    """Find a function by its name in a module, or in the one that it is imported from."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node, module
        if isinstance(node, ast.ImportFrom) and node.module and name in (alias.name for alias in node.names):
            spec = importlib.util.find_spec(node.module)
            return _find(name, _tree(Path(spec.origin))) if spec and spec.origin else None
    return None


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _parsing_functions(path: Path) -> list[ast.FunctionDef]:
    """The functions of a tool that make a parser; a tool with several has several uses, such as `encode --check`."""
    functions = [node for node in _tree(path).body if isinstance(node, ast.FunctionDef)]
    return [each for each in functions if "parser" in (getattr(n.func, "id", "") for n in _calls(each))]


def _calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _flags(call: ast.Call) -> list[str]:
    """The names of an argument, if all of them are constants."""
    values = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    names = [value for value in values if isinstance(value, str)]
    return names if len(names) == len(call.args) else []


def _options(call: ast.Call) -> dict[str, Any]:
    """The keyword arguments that decide how many values an argument takes, and the choices that are constants."""
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    kept = {key: node.value for key, node in given.items() if key in _KEPT and isinstance(node, ast.Constant)}
    found: dict[str, Any] = dict(kept)
    choices = given.get("choices")
    if isinstance(choices, ast.Name) and isinstance(constant := getattr(console, choices.id, None), tuple):
        found["choices"] = constant
    if isinstance(choices, ast.List | ast.Tuple):
        found["choices"] = [item.value for item in choices.elts if isinstance(item, ast.Constant)]
    return found


def check_arguments(command: str, path: Path, arguments: list[str]) -> None:
    """Check what can be checked before a tool and its libraries are imported.

    Raises:
        InputError: If an argument is unknown or missing.
        UnknownNameError: If there is no model, recipe or ablation of a name.
        FileError: If a file or folder that is to be read does not exist.
    """
    if {"-h", "--help"} & set(arguments):
        return
    options = _parsed(command, path, arguments)
    for value in _values(options, MODELS):
        # `publish` takes the path of a run, and a picture in this place has a message of its own
        if not os.path.exists(value) and not value.lower().endswith(_PICTURES):
            check_known(value, pretrained=False)
    for value in _values(options, PATHS):
        if not os.path.exists(os.path.expanduser(value)):
            raise FileError(f"{value}: no such file or folder; correct the path")
    for value in _values(options, ("data",)):
        check_source(value)
    for value in _values(options, ("input",)):  # of `convert`
        is_file = options["from_pickle"] or is_weights_file(value)
        check_known(f"file:{value}" if is_file else value, pretrained=False)
    for key, kind in CONFIGS.items():
        asked = options.get(key)
        if asked and not os.path.exists(os.path.expanduser(asked)):
            network = key == "question" and options["set"]  # `ablate --set` takes a network in its place
            check_known(asked, pretrained=False) if network else config_file(asked, kind)


def _values(options: dict[str, Any], keys: Iterable[str]) -> list[str]:
    """The values that were given for some arguments, each of which takes one or several."""
    found = [options.get(key) or [] for key in keys]
    return [value for values in found for value in ([values] if isinstance(values, str) else values)]


def _parsed(command: str, path: Path, arguments: list[str]) -> dict[str, Any]:
    """The values of arguments; empty if a tool has several uses and they fit none, about which it has its own words."""
    functions = _parsing_functions(path)
    for function in functions:
        try:
            return vars(_parser_of(command, path, function).parse_args(arguments))
        except InputError:
            if len(functions) == 1:
                raise
    return {}


def complete(command: str | None, tools: dict[str, Path]) -> None:
    """Answer a shell that asks for completions through argcomplete, and end the process.

    Args:
        command: The command on the line; `None` if that is what is completed.
        tools: The files of the tools by the names of their commands.

    Raises:
        FileError: If argcomplete is not installed.
    """
    try:
        import argcomplete
    except ImportError as error:
        raise FileError("completion needs argcomplete: pip install 'vaezoo[completion]'") from error
    if command is None or command not in tools:
        parser = argparse.ArgumentParser(prog="vaezoo")
        parser.add_argument("command", choices=list(tools))
    else:
        parser = _use_of_line(command, tools[command])
        os.environ["_ARGCOMPLETE"] = "2"  # the words before the arguments: vaezoo and the command
    argcomplete.autocomplete(parser, always_complete_options=False)


def _use_of_line(command: str, path: Path) -> argparse.ArgumentParser:
    """The first parser that has all options of the line, of which the last may be incomplete; otherwise the first."""
    words = {word.partition("=")[0] for word in os.environ.get("COMP_LINE", "").split()[2:] if word.startswith("--")}
    parsers = [_parser_of(command, path, function) for function in _parsing_functions(path)]
    for parser in parsers:
        if all(any(flag.startswith(word) for flag in parser._option_string_actions) for word in words):
            return parser
    return parsers[0]


def _complete_config(kind: str, prefix: str, **_: Any) -> list[str]:
    """Names of recipes or ablations, and paths, which may stand in their place."""
    return [*(name for name in files(kind) if name.startswith(prefix)), *glob.glob(f"{glob.escape(prefix)}*")]


def _complete_model(prefix: str, **_: Any) -> list[str]:
    return [name for name in (*list_models(), *list_pretrained()) if name.startswith(prefix)]
