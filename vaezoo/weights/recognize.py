"""Which layout and network a weights file is, as far as names and shapes can tell."""

from pathlib import Path
from typing import NamedTuple

from vaezoo.errors import CheckpointError
from vaezoo.nn.schema import read_spec
from vaezoo.nn.vae import VAE, build
from vaezoo.specs.catalog import files
from vaezoo.weights.checkpoint import HASH_KEY, Header, parts_of, read_header, wanted_shapes
from vaezoo.weights.diff import header_diff
from vaezoo.weights.layouts import LAYOUTS


class Candidate(NamedTuple):
    """A way to read a file: the `layout` of its names, and a `network` whose tensors have these names and shapes."""

    layout: str
    network: str


def recognize(path: str | Path) -> list[Candidate]:
    """All layouts and networks of the zoo that a file's names and shapes allow; empty where none does.

    What names and shapes cannot show (heads, groups, eps) leaves several candidates; a file that vaezoo wrote also
    carries its spec hash, which decides.

    Raises:
        FileError: If there is no such file.
        CheckpointError: If it is no whole safetensors file.
    """
    header = read_header(path)
    candidates = []
    for name, file in files("models").items():
        fitting = fitting_layouts(build(read_spec(file, name), "meta"), header)
        candidates += [Candidate(layout, name) for layout in fitting]
    return candidates


def fitting_layouts(vae: VAE, header: Header) -> list[str]:
    """The layouts in which a file's names and shapes are those of `vae`."""
    if header.metadata.get(HASH_KEY, vae.spec.hash) != vae.spec.hash:
        return []
    return [layout for layout in LAYOUTS if _fits(vae, header, layout)]


def _fits(vae: VAE, header: Header, layout: str) -> bool:
    try:
        wanted = wanted_shapes(parts_of(vae, layout))
    except CheckpointError:  # the layout cannot express this network
        return False
    return header_diff(wanted, header.shapes) is None


def find_layout(vae: VAE, path: str | Path) -> str:
    """The layout of a file meant for `vae`; the nearest where none fits, so that loading shows the difference."""
    header = read_header(path)
    fitting = fitting_layouts(vae, header)
    return fitting[0] if fitting else _nearest_layout(vae, header)


def _nearest_layout(vae: VAE, header: Header) -> str:
    """The layout that shares the most names with a file."""

    def shared(layout: str) -> int:
        try:
            return len(header.shapes.keys() & wanted_shapes(parts_of(vae, layout)).keys())
        except CheckpointError:
            return -1

    return max(LAYOUTS, key=shared)


def choose(path: str | Path, layout: str = "auto") -> Candidate:
    """The one candidate for a file, or for a file in that layout.

    Raises:
        CheckpointError: If names and shapes leave none or several; the text lists them and names `network=`, `tag=`.
    """
    candidates = [candidate for candidate in recognize(path) if layout in ("auto", candidate.layout)]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise CheckpointError(
            f"{path}: its names and shapes fit no network of the zoo in any layout ({', '.join(LAYOUTS)}); name the "
            "nearest with network= (or tag=) to see what differs"
        )
    listing = ", ".join(f"{c.network} (layout {c.layout})" for c in candidates)
    raise CheckpointError(
        f"{path}: names and shapes fit several networks, which they cannot tell apart: {listing}; say which with "
        "network= (or tag= for weights on record)"
    )
