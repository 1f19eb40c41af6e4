"""The catalog of networks and weights: their names are file names, so listing names reads no file."""

import configparser
import difflib
import fnmatch
import functools
import os
import re
from collections.abc import Iterable
from pathlib import Path

from vaezoo.errors import FileError, InputError, SpecError, UnknownNameError
from vaezoo.specs.extensions import outside_folders, worker_environment
from vaezoo.specs.faults import unknown
from vaezoo.specs.tree import short

NAME = re.compile(r"[A-Za-z0-9_-]+")
KINDS = ("models", "weights", "train", "ablations")  # of files, by the subfolder of a config folder
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
    """Add a folder of your own networks and weights to the catalog of this process and of those that it starts.

    The environment variable `VAEZOO_CONFIG_DIR` and the option `--config-dir` of every command do the same.

    Args:
        path: Folder with networks in `models/*.yaml`, weights records in `weights/*.yaml`, recipes in `train/*.yaml`
            or ablations in `ablations/*.yaml`; `~` is the home folder.

    Raises:
        FileError: If the folder has none of these subfolders.
        SpecError: If a file name is not a valid name or is taken, or there is no network for a weights record.
    """
    _add_outside_folders()
    _add(Path(os.path.expanduser(path)), "")


def catalog_environment() -> dict[str, str]:
    """Return the environment for a process that must find the same networks, weights and blocks as this one."""
    return worker_environment(_added)


def _add_outside_folders() -> None:
    for folder, owner in outside_folders():
        _add(folder, f"{owner}: ")


def _add(path: Path, owner: str) -> None:
    folder = path.resolve()
    if folder in _added:
        return
    if not any((folder / kind).is_dir() for kind in KINDS):
        raise FileError(f"{owner}{path}: no folder with models/*.yaml or weights/*.yaml")
    networks, weights, *_ = (_with_folder(kind, folder, owner) for kind in KINDS)
    for name in weights.keys() - networks.keys():
        text = "weights without a network; name the file after one of models/*.yaml"
        raise SpecError(f"{owner}{weights[name]}: {text}")
    _added.append(folder)


def _with_folder(kind: str, folder: Path, owner: str) -> dict[str, Path]:
    """`files(kind)` and the files of a new folder, which must have new names."""
    known = _added_files(kind)
    for file in sorted((folder / kind).glob("*.yaml")):
        name = canonical(file.stem)
        if not (is_name(name) or (kind not in KINDS[:2] and _is_tagged(name))):
            raise SpecError(f"{owner}{file}: {file.stem!r} is not a name; a name consists of {NAME_RULE}")
        if name in known:
            remedy = "uninstall it, or what has the other" if owner.startswith("the package") else "rename the file"
            raise SpecError(f"{owner}{file}: {kind}/{name} already exists at {known[name]}; {remedy}")
        known[name] = file
    return known


def files(kind: str) -> dict[str, Path]:
    """Return all files of a kind by name, in natural order (f8 before f16).

    Args:
        kind: A subfolder of `configs`, one of `KINDS`.
    """
    _add_outside_folders()
    return dict(sorted(_added_files(kind).items(), key=lambda item: natural(item[0])))


def _added_files(kind: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in [data_dir("configs"), *_added]:
        found.update(_yaml_files(root / kind))
    return found


def _is_tagged(name: str) -> bool:
    """Whether this is the name of weights, after which recipes may be named."""
    return all(map(is_name, name.split(".", 1)))


def _yaml_files(folder: Path) -> dict[str, Path]:
    return {canonical(path.stem): path for path in folder.glob("*.yaml")}


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts names in natural order: f8 before f16."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


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


def config_file(name: str, kind: str) -> Path:
    """Return the file of a recipe or an ablation: a path that ends in `.yaml`, or a name of the catalog.

    Args:
        name: The path or name.
        kind: "train" or "ablations".

    Raises:
        UnknownNameError: If there is none of this name.
    """
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    known = files(kind)
    if canonical(name) not in known:
        what, more = ("recipe", "") if kind == "train" else ("ablation", "; with --set, name a network")
        raise UnknownNameError(f"{unknown(name, known, what)}; the path of your own file must end in .yaml{more}")
    return known[canonical(name)]


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
    if hint := folder_hint(name) or folder_hint(name.replace("_", "-")):
        return f"no model is called {name!r}; {hint}"
    return f"no model is called {name!r}; {remedy} (for all names: vaezoo.list_models() or `vaezoo list`)"


def folder_hint(text: str) -> str | None:
    """Return how to name a folder that `text` could stand for, or `None` if there is no such folder."""
    if not text or not os.path.isdir(text):
        return None
    pipeline = os.path.isfile(os.path.join(text, "vae", "config.json")) and not os.path.isfile(f"{text}/config.json")
    return f"for the folder of this name write local-dir:{text}{'#vae' if pipeline else ''}"
