"""What a name means: `network`, `network.tag`, an alias, or a prefix with a path or repository."""

import warnings
from typing import NamedTuple

from vaezoo.errors import UnknownNameError
from vaezoo.specs.catalog import canonical

# Old name -> (new name, the version that drops the old one). Networks, `network.tag`s and aliases alike; an old name
# works, with a warning, for two minor versions. See docs/stability.md.
DEPRECATED: dict[str, tuple[str, str]] = {}

_EXAMPLES = {"hf-hub": "org/name", "local-dir": "folder", "file": "weights.safetensors"}
SOURCES = tuple(_EXAMPLES)


class ModelName(NamedTuple):
    """A parsed name: `source` is "zoo", "yaml" or one of `SOURCES`; the rest only where it is given.

    `variant`, of the weights of a folder, is no part of the text.
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
        """The name of a folder within this one."""
        return self._replace(subfolder=f"{self.subfolder}/{subfolder}" if self.subfolder else subfolder)


def parse_name(text: str) -> ModelName:
    """Split a name into source, id, tag, revision and subfolder.

    Raises:
        UnknownNameError: If it looks like a path or repository but has no prefix, or the prefix is not known.
    """
    text = str(text)  # a Path that ends in .yaml is as good
    prefix, colon, rest = text.partition(":")
    source = prefix.replace("_", "-").lower()
    if colon and source in SOURCES:
        return _sourced(source, rest, text)
    if text.endswith((".yaml", ".yml")):
        return ModelName("yaml", text)
    if any(mark in text for mark in "/\\:") or not text:
        raise UnknownNameError(
            f"{text!r} is no model name; write hf-hub:{text} for a repository on the Hub, local-dir:{text} for a "
            f"published folder, file:{text} for a weights file, or a path that ends in .yaml for a network"
        )
    network, dot, tag = _current(canonical(text)).partition(".")
    if dot and not tag:
        raise UnknownNameError(f"{text!r}: nothing follows the dot; write network.tag, or network alone")
    return ModelName("zoo", network, tag or None)


def _sourced(source: str, rest: str, text: str) -> ModelName:
    if not rest:
        raise UnknownNameError(f"{text!r}: nothing follows the colon; write {source}:{_EXAMPLES[source]}")
    if source == "file":
        return ModelName(source, rest)
    folder, mark, subfolder = rest.rpartition("#") if "#" in rest else (rest, "", "")
    if mark and not (folder and subfolder):
        raise UnknownNameError(f"{text!r}: nothing on one side of the #; write {source}:{_EXAMPLES[source]}#subfolder")
    if source == "local-dir":
        return ModelName(source, folder, subfolder=subfolder or None)
    if any(step in ("", ".", "..") for step in subfolder.split("/")) and mark:
        raise UnknownNameError(f"{text!r}: {subfolder!r} is no subfolder of a repository; write one such as #vae")
    repo, at, revision = folder.partition("@")
    if at and not revision:
        raise UnknownNameError(f"{text!r}: nothing follows the @; write hf-hub:{repo}@revision or hf-hub:{repo}")
    return ModelName(source, repo, revision=revision or None, subfolder=subfolder or None)


def _current(name: str) -> str:
    """The name with whatever is deprecated in it replaced, with a warning: all of it, or its network."""
    old = name if name in DEPRECATED else name.partition(".")[0]
    if old not in DEPRECATED:
        return name
    new, version = DEPRECATED[old]
    warnings.warn(f"{old} is now called {new}; the old name goes in vaezoo {version}", FutureWarning, stacklevel=4)
    return new + name.removeprefix(old)
