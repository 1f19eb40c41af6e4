"""Which layout and network a weights file is, as far as names and shapes can tell."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vaezoo.errors import CheckpointError
from vaezoo.formats.layouts import LAYOUTS
from vaezoo.nn.build import build
from vaezoo.nn.vae import VAE
from vaezoo.specs.catalog import files
from vaezoo.specs.model import ModelSpec
from vaezoo.weights.header import HASH_KEY, Header, View, expected_shapes, merge_fused, read_header, view
from vaezoo.weights.header_diff import same_tensors
from vaezoo.weights.load import dropped_text, tensor_names_of
from vaezoo.zoo.spec_file import read_spec

_MOST = 3.5  # values of a file for one of ours: a 3-D convolution has three times as many, and there are buffers


@dataclass(frozen=True)
class Candidate:
    """A way to read a file: the `layout` of its names, a `network` with tensors of these names and shapes, and why."""

    layout: str
    network: str
    why: str = field(default="", compare=False)


def recognize(path: str | Path) -> list[Candidate]:
    """All layouts and networks of the zoo that a file's names and shapes allow; empty where none does.

    What names and shapes cannot show (heads, groups, eps, padding) leaves several candidates; a file that vaezoo wrote
    also carries its spec hash, which decides.

    Args:
        path: A safetensors file, or two as `ENCODER,DECODER`.

    Raises:
        FileError: If there is no such file.
        CheckpointError: If it is no whole safetensors file.
    """
    header = read_header(path)
    views, candidates = _views(header), []
    for name, file in files("models").items():
        spec = read_spec(file, name)
        if any(_may_fit(spec, seen) for seen in views.values()):
            fitting = fitting_layouts(build(spec, "meta"), header, views)
            candidates += [Candidate(layout, name, why) for layout, why in fitting.items()]
    return candidates


def _views(header: Header) -> dict[str, View]:
    return {name: view(header, layout) for name, layout in LAYOUTS.items()}


def _may_fit(spec: ModelSpec, seen: View) -> bool:
    """Whether a file's number of values could be that of a network, which is cheaper to see than building it."""
    if not spec.expect or not spec.expect.params:
        return True
    values = sum(math.prod(shape) for shape in seen.shapes.values())
    return spec.expect.params <= values <= _MOST * spec.expect.params


def fitting_layouts(vae: VAE, header: Header, views: Mapping[str, View]) -> dict[str, str]:
    """The layouts in which a file's names and shapes are those of `vae`, each with the reason in words."""
    written_for = header.metadata.get(HASH_KEY)
    if written_for not in (None, vae.spec.hash):
        return {}
    reasons = {layout: _why(vae, layout, seen) for layout, seen in views.items()}
    certain = ", and it was written for this network" if written_for else ""
    return {layout: why + certain for layout, why in reasons.items() if why}


def _why(vae: VAE, layout: str, seen: View) -> str | None:
    """Why a file fits a network in a layout; None where it does not."""
    try:
        names = merge_fused(tensor_names_of(vae, layout), seen.names)
    except CheckpointError:  # the layout cannot express this network
        return None
    if not same_tensors(expected_shapes(names), seen.shapes):
        return None
    why = f"{len(seen.names)} names and shapes are the same"
    return f"{why}; left out by rule: {dropped_text(seen)}" if seen.dropped else why


def find_layout(vae: VAE, path: str | Path) -> str:
    """The layout of a file meant for `vae`; the nearest where none fits, so that loading shows the difference."""
    header = read_header(path)
    fitting = list(fitting_layouts(vae, header, _views(header)))
    return fitting[0] if fitting else _nearest_layout(vae, header)


def _nearest_layout(vae: VAE, header: Header) -> str:
    """The layout that shares the most names with a file."""

    def shared(layout: str) -> int:
        try:
            return len(
                view(header, LAYOUTS[layout]).names.keys() & expected_shapes(tensor_names_of(vae, layout)).keys()
            )
        except CheckpointError:
            return -1

    return max(LAYOUTS, key=shared)


def choose(path: str | Path, layout: str = "auto") -> Candidate:
    """The one candidate for a file, or for a file in that layout; of several layouts for one network the first.

    Raises:
        CheckpointError: If names and shapes leave none or several; the text lists them and names `network=`, `tag=`.
    """
    candidates = [candidate for candidate in recognize(path) if layout in ("auto", candidate.layout)]
    if len({candidate.network for candidate in candidates}) == 1:
        return candidates[0]
    if not candidates:
        shapes = read_header(path).shapes
        half = shapes and all(name.partition(".")[0].isdecimal() for name in shapes)
        hint = "; it is half of a TAESD: give both halves as ENCODER,DECODER" if half else ""
        raise CheckpointError(
            f"{path}: its names and shapes fit no network of the zoo in any layout ({', '.join(LAYOUTS)}){hint}; name "
            "the nearest with network= (or tag=) to see what differs"
        )
    listing = ", ".join(f"{c.network} (layout {c.layout})" for c in candidates)
    raise CheckpointError(
        f"{path}: names and shapes fit several networks, which they cannot tell apart: {listing}; say which with "
        "network= (or tag= for weights on record)"
    )
