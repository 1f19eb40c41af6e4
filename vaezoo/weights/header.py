"""Headers of safetensors files, and how a layout interprets them; no tensor is read."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from vaezoo.errors import CheckpointError, FileError
from vaezoo.formats.layouts.engine import WRAPPED, Layout, Shapes, TensorNames
from vaezoo.specs.model import HALVES
from vaezoo.weights.first_bytes import first_bytes, not_safetensors
from vaezoo.weights.header_diff import shown
from vaezoo.weights.shards import check_shards, index_remark, is_index, read_index

HASH_KEY = "vaezoo_spec_hash"
_FUSED = ".to_qkv."  # added to an attention by `fuse_qkv_projections` of diffusers
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # of a batch norm of PyTorch
AVERAGED = re.compile(r"(.*_)?(ema|swa|averaged?|shadow)(_.*|\d+)?", re.IGNORECASE)  # ema, model_ema, params_ema
_CODEBOOK = re.compile(r"(.*\.)?quantizer?\.(embedding|embed|codebook)(\.weight)?")


class Header(NamedTuple):
    """The tensors that one or more safetensors files list in their headers, by name.

    If encoder and decoder are separate files, names begin with `encoder.` and `decoder.`.

    Args:
        shapes: Name to shape.
        dtypes: Name to the dtype code of safetensors (`F32`, `BF16`).
        metadata: Metadata of the file.
        locations: Name to the file, and the name of the tensor in it.
    """

    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    metadata: dict[str, str]
    locations: dict[str, tuple[Path, str]]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files with the tensors."""
        return tuple(dict.fromkeys(path for path, _ in self.locations.values()))


class View(NamedTuple):
    """A header as interpreted by a layout.

    Args:
        names: Name in the layout to name in the file.
        shapes: Name in the layout to shape.
        dropped: Rule to the number of names that it left out.
        statistics: `running_mean` and `running_var` of the packed latents to their names in the file.
        prefix: Text before all names in the file, which was taken off.
    """

    names: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    dropped: Counter[str]
    statistics: dict[str, str]
    prefix: str = ""


def weights_files(path: str | Path) -> list[Path]:
    """Return the files that a path stands for: one, or two for the text `ENCODER,DECODER`; `~` is the home folder.

    Text with a comma is one path if it exists, or if its folder has the comma and exists.

    Raises:
        FileError: If there are more than two.
    """
    text = str(path)
    whole = Path(os.path.expanduser(text))
    in_folder = "," in str(whole.parent) and os.path.isdir(whole.parent)
    if isinstance(path, Path) or "," not in text or in_folder or os.path.exists(whole):
        return [whole]
    files = text.split(",")
    if len(files) != 2:
        raise FileError(f"{text}: {len(files)} paths; write one, or two as ENCODER,DECODER")
    return [Path(os.path.expanduser(file)) for file in files]


def read_header(path: str | Path) -> Header:
    """Read the header of a safetensors file, or of several.

    Args:
        path: A safetensors file, the index of several (`*.safetensors.index.json`), or an encoder's and a decoder's as
            `ENCODER,DECODER`.

    Raises:
        FileError: If a file does not exist.
        CheckpointError: If a file is a pickle, or not a complete safetensors file.
    """
    files = weights_files(path)
    if len(files) == 1:
        return _read(files[0], "")
    return _merged([_read(file, f"{half}.") for half, file in zip(HALVES, files, strict=True)])


def spec_hash_of(path: Path) -> str | None:
    """Return the spec hash in a weights file; `None` if it has none, is damaged or missing."""
    try:
        return read_header(path).metadata.get(HASH_KEY)
    except (CheckpointError, FileError):
        return None


def _read(path: Path, prefix: str) -> Header:
    return _read_shards(path, prefix) if is_index(path) else _read_file(path, prefix)


def _read_file(path: Path, prefix: str) -> Header:
    start = first_bytes(path)
    try:
        with safe_open(path, framework="pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a dict
            shapes = {prefix + key: tuple(piece.get_shape()) for key, piece in slices.items()}
            dtypes = {prefix + key: piece.get_dtype() for key, piece in slices.items()}
            return Header(shapes, dtypes, dict(file.metadata() or {}), {prefix + key: (path, key) for key in slices})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: {not_safetensors(start)} ({error})") from error


def _read_shards(index: Path, prefix: str) -> Header:
    places = read_index(index)
    missing = next((file for file in places.values() if not os.path.isfile(index.with_name(file))), None)
    if missing:
        raise FileError(f"{index}: lists {shown(missing)}, which is not beside it; download that file too")
    shards = {file: _read_file(index.with_name(file), prefix) for file in dict.fromkeys(places.values())}
    check_shards(index, places, {file: {raw for _, raw in shard.locations.values()} for file, shard in shards.items()})
    return _merged(list(shards.values()))


def _merged(headers: list[Header]) -> Header:
    return Header(*(dict(item for part in parts for item in part.items()) for parts in zip(*headers, strict=True)))


def remark(header: Header) -> str:
    """Return a remark for messages about weights that fit no network, if they show why; else empty text."""
    name = next((name for name in header.shapes if _CODEBOOK.fullmatch(name)), None)
    if name is None:
        return index_remark(header.files)
    return f"; it is a vector-quantized model (codebook {shown(name)}), which vaezoo cannot build"


def view(header: Header, layout: Layout) -> View:
    """Interpret a header by a layout: remove the prefix, apply renames, and leave out what the layout ignores."""
    names = {name: re.sub(WRAPPED, "", name) for name in header.shapes}
    prefix = _prefix(names.values(), layout.roots)
    seen = View({}, {}, Counter(), {}, prefix)
    for name, shape in header.shapes.items():
        inner = names[name].removeprefix(prefix)
        owner, _, leaf = inner.rpartition(".")
        if not names[name].startswith(prefix):
            seen.dropped[f"outside {prefix}"] += 1
        elif owner and owner == layout.statistics and leaf in _STATISTICS:
            seen.statistics[leaf] = name
        elif rule := next((rule for rule in layout.ignored if re.fullmatch(rule, inner)), None):
            seen.dropped[rule.replace(".*", "*").replace("\\.", ".")] += 1
        else:
            known = _renamed(inner, layout)
            known = name if known in seen.names else known  # two spellings of one tensor: the second is unexpected
            if layout.one_frame and len(shape) == 5 and shape[2] == 1 and known.endswith(".weight"):
                shape = (*shape[:2], *shape[3:])
            seen.names[known], seen.shapes[known] = name, shape
    _drop_fused(seen)
    return seen


def _drop_fused(seen: View) -> None:
    """Leave out fused queries, keys and values if the file also has separate ones, which diffusers then loads."""
    for name in [n for n in seen.names if _FUSED in n and n.replace(_FUSED, ".to_q.") in seen.names]:
        del seen.names[name], seen.shapes[name]
        seen.dropped[f"*{_FUSED}*"] += 1


def _prefix(names: Iterable[str], roots: tuple[str, str]) -> str:
    """Find the text before the names of a VAE: before both halves, averaged weights first, then the most names."""
    counts: dict[str, Counter[str]] = {root: Counter() for root in roots}
    for root, counted in counts.items():
        pattern = re.compile(rf"(?:^|(?<=[\W_])){re.escape(root)}")
        for name in names:
            if root in name:
                counted.update(name[: match.start()] for match in pattern.finditer(name))
    encoder, decoder = counts.values()
    both = encoder.keys() & decoder.keys()
    total = encoder + decoder
    if not both:
        return "" if "" in total else max(total, key=lambda prefix: (total[prefix], -len(prefix)), default="")
    most = max(total[prefix] for prefix in both)

    def rank(prefix: str) -> tuple[bool, int, int]:
        averaged = any(AVERAGED.fullmatch(part) for part in prefix.split("."))
        return averaged and 2 * total[prefix] >= most, total[prefix], -len(prefix)

    return max(both, key=rank)


def _renamed(name: str, layout: Layout) -> str:
    for pattern, replacement in layout.renamed:
        name = re.sub(f"^{pattern}$", replacement, name)
    return name


def merge_fused(tensors: list[TensorNames], names: Shapes | dict[str, str]) -> list[TensorNames]:
    """Replace separate queries, keys and values by the fused name wherever the file has that name.

    Args:
        tensors: Names of our tensors in a layout.
        names: Names in the file, as the layout interprets them.
    """
    merged = []
    for tensor in tensors:
        if tensor.fused is not None and tensor.fused in names:
            first, *rest = tensor.shape
            tensor = tensor._replace(names=(tensor.fused,), shape=(first * len(tensor.names), *rest))
        merged.append(tensor)
    return merged


def expected_shapes(tensors: list[TensorNames]) -> Shapes:
    """Return the names and shapes that a file must have."""
    return {name: tensor.shape for tensor in tensors for name in tensor.names}
