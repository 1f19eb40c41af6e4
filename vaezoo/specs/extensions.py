"""Networks, weights and blocks from outside vaezoo: installed packages, modules, and folders of the environment."""

import functools
import importlib
import importlib.metadata
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vaezoo.errors import InputError, SpecError

GROUP = "vaezoo.zoo"  # entry points of packages that bring networks, weights or blocks
CONFIG_DIR, IMPORTS = "VAEZOO_CONFIG_DIR", "VAEZOO_IMPORT"  # both may name several, as PATH does
USER_CODE_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)

_modules: dict[str, None] = {}  # names of modules that registered blocks in this process, in order


class ZooPackage(NamedTuple):
    """An installed package with an entry point in the group `vaezoo.zoo`.

    Args:
        package: Name of the package, as pip knows it.
        module: The module that the entry point names. Importing it registers its blocks, and the folder `configs`
            beside its code has its networks and weights.
    """

    package: str
    module: str


@functools.cache
def zoo_packages() -> tuple[ZooPackage, ...]:
    """Return the installed packages that bring networks, weights or blocks, sorted by name."""
    found = importlib.metadata.entry_points(group=GROUP)
    return tuple(sorted({ZooPackage(point.dist.name if point.dist else point.name, point.module) for point in found}))


def outside_folders() -> list[tuple[Path, str]]:
    """Return the config folders of `VAEZOO_CONFIG_DIR` and of installed packages, each with what names it."""
    named = [path for path in os.environ.get(CONFIG_DIR, "").split(os.pathsep) if path]
    folders = [(Path(os.path.expanduser(path)), CONFIG_DIR) for path in named]
    for package in zoo_packages():
        folders += [(folder, f"the package {package.package}") for folder in _config_folders(package)]
    return folders


@functools.cache
def _config_folders(package: ZooPackage) -> tuple[Path, ...]:
    """The folder `configs` in the folder of a package's module, if there is one; a top-level module is not imported."""
    try:
        spec = importlib.util.find_spec(package.module)
    except USER_CODE_ERRORS as error:
        raise _import_error(package.module, error) from error
    if spec is None:
        raise SpecError(
            f"the package {package.package}: its entry point {GROUP} names the module {package.module}, which does not "
            f"exist; reinstall or uninstall {package.package}"
        )
    origin = [str(Path(spec.origin).parent)] if spec.origin else []
    places = [Path(place) / "configs" for place in spec.submodule_search_locations or origin]
    return tuple(place for place in places if place.is_dir())


def import_blocks() -> None:
    """Import the modules of installed packages and of `VAEZOO_IMPORT`, which registers their blocks.

    Raises:
        SpecError: If one of them cannot be imported.
    """
    named = [name for name in os.environ.get(IMPORTS, "").split(os.pathsep) if name]
    for module in (*(package.module for package in zoo_packages()), *named):
        import_module(module)


def import_module(name: str) -> None:
    """Import a module with blocks; if Python does not find it elsewhere, from the working directory.

    Args:
        name: Dotted name, such as `my_blocks`.

    Raises:
        InputError: If this is not a name, or there is no such module.
        SpecError: If its code fails; the text has the place.
    """
    if name.endswith(".py") or not all(part.isidentifier() for part in name.split(".")):
        raise InputError(f"--import {name}: expected the name of a module, such as my_blocks for my_blocks.py")
    try:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}.") or os.getcwd() in sys.path:
                raise
            sys.path.append(os.getcwd())  # last, so that a random.py there hides nothing
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _import_error(name, error) from error
        raise InputError(f"--import {name}: no such module; put its folder on PYTHONPATH") from error
    except USER_CODE_ERRORS as error:
        raise _import_error(name, error) from error


def _import_error(module: str, error: Exception) -> SpecError:
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    at = f" ({places[-1].filename}:{places[-1].lineno})" if places and places[-1].filename != __file__ else ""
    return SpecError(f"the module {module} cannot be imported{at}: {type(error).__name__}: {error}")


def remember_module(name: str) -> None:
    """Note that a module registered a block, so that processes which this one starts import it, too."""
    _modules[name] = None


def worker_environment(folders: Iterable[Path] = ()) -> dict[str, str]:
    """Return the environment for a process that must know the same networks and blocks as this one.

    Args:
        folders: Config folders that were added in this process.
    """
    known = {
        CONFIG_DIR: [*os.environ.get(CONFIG_DIR, "").split(os.pathsep), *map(str, folders)],
        IMPORTS: [*os.environ.get(IMPORTS, "").split(os.pathsep), *(name for name in _modules if name != "__main__")],
    }
    lists = {name: os.pathsep.join(dict.fromkeys(value for value in values if value)) for name, values in known.items()}
    return {**os.environ, **{name: value for name, value in lists.items() if value}}
