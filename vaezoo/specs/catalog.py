"""The catalog of networks and weights: their names are file names, so listing names reads no file."""

import configparser
import difflib
import fnmatch
import functools
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vaezoo.errors import FileError, InputError, SpecError, UnknownNameError
from vaezoo.specs.parse import read_tree
from vaezoo.specs.tree import Node, short

NAME = re.compile(r"[A-Za-z0-9_-]+")
NAME_RULE = 'letters, digits, "_" and "-", which are the same'

_added: list[Path] = []  # folders of `add_config_dir`, in the order of the calls


@functools.cache
def data_dir(name: str) -> Path:
    """Return the folder `configs` or `tools`, inside the installed package or beside it in a checkout of vaezoo.

    Raises:
        FileError: If there is neither, because the installation is damaged.
    """
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent
    if (package / name).is_dir():
        return package / name
    if (checkout / name).is_dir() and _is_checkout(checkout):
        return checkout / name
    raise FileError(f"{package / name}: missing; reinstall vaezoo")


def sample_photos() -> list[Path]:
    """Return the paths of the sample photos of the package, 256x256 pixels each."""
    return sorted((data_dir("configs") / "samples").glob("*.png"))


def _is_checkout(folder: Path) -> bool:
    settings = configparser.ConfigParser()
    settings.read(folder / "setup.cfg", encoding="utf-8")
    return settings.get("metadata", "name", fallback=None) == "vaezoo"


def add_config_dir(path: str | Path) -> None:
    """Add a folder of your own networks and weights to the catalog of this process.

    Args:
        path: Folder with networks in `models/*.yaml`, weights records in `weights/*.yaml`, or both.

    Raises:
        FileError: If the folder has neither subfolder.
        SpecError: If a file name is not a valid name or is taken, or there is no network for a weights record.
    """
    folder = Path(path).resolve()
    if folder in _added:
        return
    if not (folder / "models").is_dir() and not (folder / "weights").is_dir():
        raise FileError(f"{path}: no folder with models/*.yaml or weights/*.yaml")
    networks = _with_folder("models", folder)
    for name, file in _with_folder("weights", folder).items():
        if name not in networks:
            raise SpecError(f"{file}: weights without a network; name the file after one of models/*.yaml")
    _added.append(folder)


def _with_folder(kind: str, folder: Path) -> dict[str, Path]:
    """`files(kind)` and the files of a new folder, which must have new names."""
    known = files(kind)
    for file in sorted((folder / kind).glob("*.yaml")):
        name = canonical(file.stem)
        if not is_name(name):
            raise SpecError(f"{file}: {file.stem!r} is not a name; a name consists of {NAME_RULE}")
        if name in known:
            raise SpecError(f"{file}: {kind}/{name} already exists at {known[name]}; rename the file")
        known[name] = file
    return known


def files(kind: str) -> dict[str, Path]:
    """Return all files of a kind by name, in natural order (f8 before f16).

    Args:
        kind: A subfolder of `configs`: "models", "weights", "train" or "ablations".
    """
    found: dict[str, Path] = {}
    for root in [data_dir("configs"), *_added]:
        found.update(_yaml_files(root / kind))
    return dict(sorted(found.items(), key=lambda item: natural(item[0])))


def _yaml_files(folder: Path) -> dict[str, Path]:
    return {canonical(path.stem): path for path in folder.glob("*.yaml")}


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts names in natural order: f8 before f16."""
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
    """List the names of all networks that match a pattern, in natural order.

    Args:
        pattern: Pattern with shell wildcards; "-" and "_" are the same.
        exclude: Patterns of names to leave out.
        latent_channels: Number of latent channels; `None` means any.
        downscale: Pixels per latent pixel and side; `None` means any.
        min_params: Smallest number of parameters, encoder and decoder together.
        max_params: Largest number of parameters.

    Raises:
        InputError: If a pattern is not text or a number is not a number.

    Examples:
        >>> import vaezoo
        >>> vaezoo.list_models("vae_f8_z4*", max_params=1_000_000)
        ['vae_f8_z4_micro']
    """
    numbers = {"latent_channels": latent_channels, "downscale": downscale}
    for key, value in {**numbers, "min_params": min_params, "max_params": max_params}.items():
        if value is not None and not isinstance(value, (int, float)):
            raise InputError(f"{key}={short(value)}: expected a number or None")
    names = match(files("models"), pattern, exclude)
    wanted = {key: value for key, value in numbers.items() if value is not None}
    if not wanted and min_params is None and max_params is None:
        return names  # no file is read
    known = [facts(name) for name in names]
    fitting = [f for f in known if all(getattr(f, key) == value for key, value in wanted.items())]
    return [f.name for f in fitting if _within(f.params, min_params, max_params)]


def _within(params: int | None, low: int | None, high: int | None) -> bool:
    """Whether a number of parameters is within bounds; an unknown number is within none."""
    if params is None:
        return low is None and high is None
    return (low or 0) <= params <= (math.inf if high is None else high)


def match(names: Iterable[str], pattern: str = "*", exclude: str | Iterable[str] = ()) -> list[str]:
    """Return the names that match a pattern with shell wildcards and none of the patterns `exclude`.

    Raises:
        InputError: If a pattern is not text.
    """
    excluded = list(exclude) if isinstance(exclude, Iterable) and not isinstance(exclude, str) else [exclude]
    for given in (pattern, *excluded):
        if not isinstance(given, str):
            raise InputError(f"{short(given)} is not a pattern; expected text such as 'vae_f8*'")
    spellings = [_canonical_pattern(p) for p in excluded]
    fitting = fnmatch.filter(names, _canonical_pattern(pattern))
    return [name for name in fitting if not any(fnmatch.fnmatch(name, p) for p in spellings)]


def canonical(name: str) -> str:
    """Return the canonical spelling of a name, with "_" for "-"."""
    return name.replace("-", "_")


def _canonical_pattern(pattern: str) -> str:
    """Like `canonical`, but the "-" of a range such as `[1-9]` stays."""
    return re.sub(r"\[[^]]*]|-", lambda found: "_" if found[0] == "-" else found[0], pattern)


def is_name(text: str) -> bool:
    """Return whether `text` can be the name of a network, tag or alias."""
    return NAME.fullmatch(text) is not None


class Facts(NamedTuple):
    """What the file of a network states; `None` where it states nothing.

    Args:
        name: Name of the network.
        summary: One sentence about it.
        latent_channels: Channels of a latent.
        downscale: Pixels per latent pixel and side.
        params: Parameters of encoder and decoder together.
    """

    name: str
    summary: str
    latent_channels: int | None
    downscale: int | None
    params: int | None


def facts(name: str, file: Path | None = None) -> Facts:
    """Read what the file of a network states, without checking the file; `None` finds the file."""
    tree = read_tree(file or model_file(name))

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
    """Return the YAML file of a network.

    Raises:
        UnknownNameError: If there is no such network; the text has the most similar names.
    """
    known = files("models")
    if name not in known:
        raise UnknownNameError(unknown_name(name, known))
    return known[name]


def unknown_name(name: str, known: Iterable[str]) -> str:
    """Return the message for a name that does not exist."""
    known = list(known)
    near = difflib.get_close_matches(canonical(name), known, n=3, cutoff=0.5)
    remedy = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known[:12])}"
    return f"no model is called {name!r}; {remedy} (for all names: vaezoo.list_models() or `vaezoo list`)"
