"""Names to files: which networks and weights exist. Names are file names; listing them by name reads no file."""

import configparser
import difflib
import fnmatch
import functools
import math
import re
from collections.abc import Iterable
from numbers import Real
from pathlib import Path
from typing import NamedTuple

from vaezoo.errors import FileError, InputError, SpecError, UnknownNameError
from vaezoo.specs.parse import read_tree
from vaezoo.specs.tree import Node, short

NAME = re.compile(r"[A-Za-z0-9_-]+")
NAME_RULE = 'letters, digits, "_" and "-", which are the same'

_added: list[Path] = []  # folders of `add_config_dir`, in order


@functools.cache
def data_dir(name: str) -> Path:
    """The folder `configs` or `tools`: inside the installed package, else beside it in a checkout of vaezoo.

    Raises:
        FileError: If neither is there: the installation is damaged.
    """
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent
    if (package / name).is_dir():
        return package / name
    if (checkout / name).is_dir() and _is_checkout(checkout):
        return checkout / name
    raise FileError(f"{package / name}: missing; reinstall vaezoo")


def sample_photos() -> list[Path]:
    """The photos that travel with the package, of 256x256 pixels."""
    return sorted((data_dir("configs") / "samples").glob("*.png"))


def _is_checkout(folder: Path) -> bool:
    settings = configparser.ConfigParser()
    settings.read(folder / "setup.cfg", encoding="utf-8")
    return settings.get("metadata", "name", fallback=None) == "vaezoo"


def add_config_dir(path: str | Path) -> None:
    """Add a folder of your own networks (`models/*.yaml`) and weights (`weights/*.yaml`) for this process.

    Raises:
        FileError: If it holds neither subfolder.
        SpecError: If the stem of a file is no name or is taken, or weights have no network of their name.
    """
    folder = Path(path).resolve()
    if folder in _added:
        return
    if not (folder / "models").is_dir() and not (folder / "weights").is_dir():
        raise FileError(f"{path}: no folder with models/*.yaml or weights/*.yaml")
    networks = _joined("models", folder)
    for name, file in _joined("weights", folder).items():
        if name not in networks:
            raise SpecError(f"{file}: weights of no network; name it after one of models/*.yaml")
    _added.append(folder)


def _joined(kind: str, folder: Path) -> dict[str, Path]:
    """`files(kind)` and those of a new folder, none of which may hide another."""
    known = files(kind)
    for file in sorted((folder / kind).glob("*.yaml")):
        name = canonical(file.stem)
        if not is_name(name):
            raise SpecError(f"{file}: {file.stem!r} is no name; a name is {NAME_RULE}")
        if name in known:
            raise SpecError(f"{file}: {kind}/{name} exists already at {known[name]}; rename the file")
        known[name] = file
    return known


def files(kind: str) -> dict[str, Path]:
    """Name to file of all `models` or `weights`, in natural order (f8 before f16)."""
    found: dict[str, Path] = {}
    for root in [data_dir("configs"), *_added]:
        found.update(_yaml_files(root / kind))
    return dict(sorted(found.items(), key=lambda item: natural(item[0])))


def _yaml_files(folder: Path) -> dict[str, Path]:
    return {canonical(path.stem): path for path in folder.glob("*.yaml")}


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key that counts: f8 before f16."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def list_models(
    pattern: str = "*",
    *,
    exclude: str | Iterable[str] = (),
    latent_channels: int | None = None,
    downscale: int | None = None,
    min_params: int | None = None,
    max_params: int | None = None,
) -> list[str]:
    """Names of all networks that fit a wildcard pattern such as `"vae_f8*"`, in natural order.

    Args:
        pattern: Shell wildcards; "-" and "_" are the same.
        exclude: Patterns of names to leave out.
        latent_channels: Only networks with so many.
        downscale: Only networks that shrink each side so many times.
        min_params: Only networks of at least so many parameters, encoder and decoder together.
        max_params: Only networks of at most so many.

    Raises:
        InputError: If a pattern is no text, or a number none.
    """
    numbers = {"latent_channels": latent_channels, "downscale": downscale}
    for key, value in {**numbers, "min_params": min_params, "max_params": max_params}.items():
        if value is not None and not isinstance(value, Real):
            raise InputError(f"{key}={short(value)}: expected a number, or None for any")
    names = match(files("models"), pattern, exclude)
    wanted = {key: value for key, value in numbers.items() if value is not None}
    if not wanted and min_params is None and max_params is None:
        return names  # no file is read
    known = [facts(name) for name in names]
    fitting = [f for f in known if all(getattr(f, key) == value for key, value in wanted.items())]
    return [f.name for f in fitting if _within(f.params, min_params, max_params)]


def _within(params: int | None, low: int | None, high: int | None) -> bool:
    """Whether a number of parameters, which a file may leave out, is within the bounds that are asked for."""
    if params is None:
        return low is None and high is None
    return (low or 0) <= params <= (math.inf if high is None else high)


def match(names: Iterable[str], pattern: str = "*", exclude: str | Iterable[str] = ()) -> list[str]:
    """The names that fit a wildcard pattern and none of `exclude`.

    Raises:
        InputError: If a pattern is no text.
    """
    excluded = list(exclude) if isinstance(exclude, Iterable) and not isinstance(exclude, str) else [exclude]
    for given in (pattern, *excluded):
        if not isinstance(given, str):
            raise InputError(f"{short(given)} is no pattern of names; expected text such as 'vae_f8*'")
    spellings = [_canonical_pattern(p) for p in excluded]
    fitting = fnmatch.filter(names, _canonical_pattern(pattern))
    return [name for name in fitting if not any(fnmatch.fnmatch(name, p) for p in spellings)]


def canonical(name: str) -> str:
    """The one spelling of a name: "-" and "_" are the same."""
    return name.replace("-", "_")


def _canonical_pattern(pattern: str) -> str:
    """`canonical`, but for the "-" of a range such as `[1-9]`."""
    return re.sub(r"\[[^]]*]|-", lambda found: "_" if found[0] == "-" else found[0], pattern)


def is_name(text: str) -> bool:
    """Whether `text` can name a network, tag or alias: the characters of `NAME_RULE`."""
    return NAME.fullmatch(text) is not None


class Facts(NamedTuple):
    """What the catalog says of a network without building it."""

    name: str
    summary: str
    latent_channels: int | None
    downscale: int | None
    params: int | None


def facts(name: str) -> Facts:
    """The facts of one network, read from its file as they stand there."""
    tree = read_tree(model_file(name))

    def get(*path: str) -> object:
        node: Node | None = tree
        for key in path:
            node = node.value.get(key) if node and isinstance(node.value, dict) else None
        return node.value if node else None

    summary = get("summary")
    numbers = get("latent", "channels"), get("expect", "downscale"), get("expect", "params")
    return Facts(
        name, summary if isinstance(summary, str) else "", *(n if isinstance(n, int) else None for n in numbers)
    )


def model_file(name: str) -> Path:
    """The YAML file of a network.

    Raises:
        UnknownNameError: With the nearest names.
    """
    known = files("models")
    if name not in known:
        raise UnknownNameError(unknown_name(name, known))
    return known[name]


def unknown_name(name: str, known: Iterable[str]) -> str:
    """The error text for a name that does not exist."""
    known = list(known)
    near = difflib.get_close_matches(canonical(name), known, n=3, cutoff=0.5)
    remedy = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known[:12])}"
    return f"no model is called {name!r}; {remedy} (all of them: vaezoo.list_models(), or `vaezoo list`)"
