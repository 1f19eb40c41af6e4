"""What weights files say of themselves, and how a layout sees them; no tensor is read."""

import os
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from vaezoo.errors import CheckpointError, FileError
from vaezoo.formats.layouts.engine import Layout, Part, Shapes
from vaezoo.io.files import opened
from vaezoo.specs.model import HALVES

HASH_KEY = "vaezoo_spec_hash"
_FUSED = ".to_qkv."  # what `fuse_qkv_projections` of diffusers adds to an attention
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # of a batch norm of PyTorch
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class Header(NamedTuple):
    """Shape, dtype code and place (file, name in it) of every tensor, and the metadata.

    Of an encoder's and a decoder's file together, names begin with `encoder.` and `decoder.`.
    """

    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    metadata: dict[str, str]
    places: dict[str, tuple[Path, str]]


class View(NamedTuple):
    """A header as a layout sees it.

    Args:
        names: The layout's names to those of the file.
        shapes: The layout's names to shapes.
        dropped: Rule to the number of names that it left out.
        statistics: `running_mean`, `running_var` of the packed latents to their names in the file.
    """

    names: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    dropped: Counter[str]
    statistics: dict[str, str]


def weights_files(path: str | Path) -> list[Path]:
    """The files that a path means: itself, or of `ENCODER,DECODER` the two."""
    text = str(path)
    if "," not in text or os.path.exists(text):
        return [Path(path)]
    files = text.split(",")
    if len(files) != 2:
        raise FileError(f"{text}: {len(files)} paths; write one, or two as ENCODER,DECODER")
    return [Path(file) for file in files]


def read_header(path: str | Path) -> Header:
    """The header of a safetensors file, or of an encoder's and a decoder's together (`ENCODER,DECODER`).

    Raises:
        FileError: If there is no such file.
        CheckpointError: If it is a pickle, or no whole safetensors file.
    """
    files = weights_files(path)
    if len(files) == 1:
        return _read(files[0], "")
    encoder, decoder = (_read(file, f"{half}.") for half, file in zip(HALVES, files, strict=True))
    return Header(*({**a, **b} for a, b in zip(encoder, decoder, strict=True)))


def _read(path: Path, prefix: str) -> Header:
    start = _first_bytes(path)
    try:
        with safe_open(path, framework="pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a dict
            shapes = {prefix + key: tuple(part.get_shape()) for key, part in slices.items()}
            dtypes = {prefix + key: part.get_dtype() for key, part in slices.items()}
            return Header(shapes, dtypes, dict(file.metadata() or {}), {prefix + key: (path, key) for key in slices})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: {_what_else(start)} ({error})") from error


def _first_bytes(path: Path) -> bytes:
    if not os.path.isfile(path):  # Path.is_file raises OSError for too long a name
        raise FileError(f"{path}: {f'a folder; write local-dir:{path}' if os.path.isdir(path) else 'no such file'}")
    with opened(path) as file:
        return file.read(4)


def _what_else(start: bytes) -> str:
    """What a file that is not safetensors seems to be from its first bytes, and what to do."""
    if start.startswith(_PICKLE_STARTS):
        return (
            "a pickle, which can run code when opened, and vaezoo loads safetensors only: "
            "vaezoo convert IN OUT.safetensors --from-pickle makes one of it"
        )
    return "not a whole safetensors file: damaged, cut off, or of another format; fetch it again"


def view(header: Header, layout: Layout) -> View:
    """A header as a layout sees it: no wrapper's prefix, older names brought up to date, some left out by rule."""
    prefix = _prefix(header, layout)
    seen = View({}, {}, Counter(), {})
    for name, shape in header.shapes.items():
        inner = name.removeprefix(prefix)
        owner, _, leaf = inner.rpartition(".")
        if not name.startswith(prefix):
            seen.dropped[f"outside {prefix}"] += 1
        elif owner and owner == layout.statistics and leaf in _STATISTICS:
            seen.statistics[leaf] = name
        elif rule := next((rule for rule in layout.drops if re.fullmatch(rule, inner)), None):
            seen.dropped[_readable(rule)] += 1
        else:
            known = _respelt(inner, layout)
            seen.names[known], seen.shapes[known] = name, shape
    _drop_fused(seen)
    return seen


def _drop_fused(seen: View) -> None:
    """Leave out queries, keys and values in one tensor where they also are apart, which diffusers then loads."""
    for name in [name for name in seen.names if name.replace(_FUSED, ".to_q.") in seen.names.keys() - {name}]:
        del seen.names[name], seen.shapes[name]
        seen.dropped[f"*{_FUSED}*"] += 1


def _prefix(header: Header, layout: Layout) -> str:
    for prefix in ("", *layout.prefixes):
        if any(name.startswith((f"{prefix}encoder.", f"{prefix}decoder.")) for name in header.shapes):
            return prefix
    return ""


def _readable(rule: str) -> str:
    """A pattern as a person would write it: `loss.*`."""
    return rule.replace(".*", "*").replace("\\.", ".")


def _respelt(name: str, layout: Layout) -> str:
    for pattern, replacement in layout.spellings:
        name = re.sub(f"^{pattern}$", replacement, name)
    return name


def fused(parts: list[Part], names: Shapes | dict[str, str]) -> list[Part]:
    """The parts with the one name where the file keeps queries, keys and values together."""
    return [_fused(part) if part.fused in names else part for part in parts]


def _fused(part: Part) -> Part:
    first, *rest = part.shape
    return part._replace(names=(part.fused,), shape=(first * len(part.names), *rest))


def wanted_shapes(parts: list[Part]) -> Shapes:
    """The foreign names of all parts and the shapes that are wanted under them."""
    return {name: part.shape for part in parts for name in part.names}
