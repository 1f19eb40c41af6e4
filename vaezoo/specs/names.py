"""Parse model names: `network`, `network.tag`, an alias, or a prefix with a path or repository."""

import os
import warnings
from pathlib import Path
from typing import NamedTuple

from vaezoo.errors import UnknownNameError
from vaezoo.specs.catalog import canonical, folder_hint
from vaezoo.specs.page_address import remedy_for_page

# Old name -> (new name, version that removes the old one), for networks, `network.tag`s and aliases. An old name works
# for two minor versions, with a warning; see docs/stability.md.
DEPRECATED: dict[str, tuple[str, str]] = {}

_EXAMPLES = {"hf-hub": "org/name", "local-dir": "folder", "file": "weights.safetensors"}
SOURCES = tuple(_EXAMPLES)
_YAML = (".yaml", ".yml")


class ModelName(NamedTuple):
    """A parsed model name.

    Args:
        source: "zoo", "yaml" or one of `SOURCES`.
        id: Network, path or repository.
        tag: Weights of a network of the zoo.
        revision: Branch, tag or commit of a repository.
        subfolder: Subfolder of a folder or repository.
        variant: Variant of the weights of a diffusers folder, such as "fp16"; it is not part of the text.
    """

    source: str
    id: str
    tag: str | None = None
    revision: str | None = None
    subfolder: str | None = None
    variant: str | None = None

    @property
    def text(self) -> str:
        """The name as it is written: `network.tag` or `hf-hub:org/name@revision#subfolder`."""
        if self.source in ("zoo", "yaml"):
            return f"{self.id}.{self.tag}" if self.tag else self.id
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.source}:{self.id}{revision}" + (f"#{self.subfolder}" if self.subfolder else "")

    def below(self, subfolder: str) -> "ModelName":
        """Return the name of a subfolder of this folder."""
        return self._replace(subfolder=f"{self.subfolder}/{subfolder}" if self.subfolder else subfolder)


def parse_name(text: str | Path) -> ModelName:
    """Parse a model name.

    Args:
        text: The name, or the path of a YAML file or a published folder. Text is a path if it ends in .yaml, is
            absolute, or begins with `./`, `../` or `~`; a `Path` always is.

    Raises:
        UnknownNameError: If the name is incomplete, is an address on the web, or looks like a path or repository and
            has no known prefix.
    """
    is_folder = isinstance(text, Path) or text in (".", "..", "~") or text.startswith(("./", "../", "~/", "/"))
    text = str(text)
    prefix, colon, rest = text.partition(":")
    source = prefix.replace("_", "-").lower()
    sourced = bool(colon) and source in SOURCES
    _check_no_page(
        rest if sourced else text, text, is_path=is_folder or source in ("file", "local-dir") or text.endswith(_YAML)
    )
    if sourced:
        return _sourced(source, rest, text)
    if text.endswith(_YAML):
        return ModelName("yaml", os.path.expanduser(text))
    if is_folder:
        return _sourced("local-dir", text, text)
    if any(mark in text for mark in "/\\:") or not text:
        if hint := folder_hint(text):
            raise UnknownNameError(f"{text!r} is not a model name; {hint}")
        raise UnknownNameError(
            f"{text!r} is not a model name; write hf-hub:{text} for a repository on the Hub, local-dir:{text} for a "
            f"published folder, file:{text} for a weights file, or a path that ends in .yaml for a network"
        )
    network, dot, tag = _current(canonical(text)).partition(".")
    if dot and not tag:
        raise UnknownNameError(f"{text!r}: nothing follows the dot; write network.tag or network")
    return ModelName("zoo", network, tag or None)


def _check_no_page(name: str, text: str, is_path: bool) -> None:
    """Raise `UnknownNameError` for the address of a web page; a path may begin like one without https://."""
    remedy = None if is_path and "://" not in name else remedy_for_page(name)
    if remedy:
        raise UnknownNameError(f"{text!r} is the address of a web page and not a name: {remedy}")


def _sourced(source: str, rest: str, text: str) -> ModelName:
    if not rest:
        raise UnknownNameError(f"{text!r}: nothing follows the colon; write {source}:{_EXAMPLES[source]}")
    if source == "file":
        return ModelName(source, rest)
    folder, mark, subfolder = rest.rpartition("#") if "#" in rest else (rest, "", "")
    if mark and not (folder and subfolder):
        raise UnknownNameError(f"{text!r}: nothing on one side of the #; write {source}:{_EXAMPLES[source]}#subfolder")
    if source == "local-dir":
        return ModelName(source, os.path.expanduser(folder), subfolder=subfolder or None)
    if any(step in ("", ".", "..") for step in subfolder.split("/")) and mark:
        raise UnknownNameError(f"{text!r}: {subfolder!r} is not a subfolder of a repository; write one such as #vae")
    repo, at, revision = folder.partition("@")
    if at and not revision:
        raise UnknownNameError(f"{text!r}: nothing follows the @; write hf-hub:{repo}@revision or hf-hub:{repo}")
    if repo.count("/") > 1:
        owner, name, below = repo.split("/", 2)
        exact = ModelName(source, f"{owner}/{name}", None, revision or None, f"{below}/{subfolder}".rstrip("/")).text
        raise UnknownNameError(f"{text!r}: a repository is organization/name; a folder in it is written {exact}")
    return ModelName(source, repo, revision=revision or None, subfolder=subfolder or None)


def _current(name: str) -> str:
    """The name with a deprecated name or network replaced, with a warning."""
    old = name if name in DEPRECATED else name.partition(".")[0]
    if old not in DEPRECATED:
        return name
    new, version = DEPRECATED[old]
    text = f"{old} is now called {new}; the old name will be removed in vaezoo {version}"
    warnings.warn(text, FutureWarning, stacklevel=4)
    return new + name.removeprefix(old)
