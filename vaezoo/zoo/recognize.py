"""Recognizing the layout and network of a weights file by its names and shapes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vaezoo.errors import CheckpointError
from vaezoo.formats.layouts import LAYOUTS
from vaezoo.nn.build import build
from vaezoo.nn.vae import VAE
from vaezoo.specs.catalog import files
from vaezoo.specs.listing import facts
from vaezoo.weights.header import (
    HASH_KEY,
    Header,
    View,
    expected_shapes,
    merge_fused,
    read_header,
    remark,
    view,
)
from vaezoo.weights.header_diff import same_tensors, shown
from vaezoo.weights.load import dropped_text, tensor_names_of
from vaezoo.zoo.spec_file import read_spec

_MOST = 3.5  # values of a file for each parameter: a 3-D convolution has three times as many, and there are buffers


@dataclass(frozen=True)
class Candidate:
    """One way to read a weights file.

    Args:
        layout: Layout of the names in the file.
        network: Name of a network of the zoo whose tensors have these names and shapes.
        why: What was compared, and what is left out by rule.
    """

    layout: str
    network: str
    why: str = field(default="", compare=False)


def recognize(path: str | Path) -> list[Candidate]:
    """List the layouts and networks of the zoo that the names and shapes of a weights file allow.

    Names and shapes do not show attention heads, groups and eps of norms, or padding, so there may be several
    candidates. A file that vaezoo wrote also holds the spec hash, which leaves one network.

    Args:
        path: A safetensors file, the index of several (`*.safetensors.index.json`), or two as `ENCODER,DECODER`.

    Returns:
        The candidates; an empty list if no network fits.

    Raises:
        FileError: If there is no such file.
        CheckpointError: If it is not a complete safetensors file.

    Examples:
        >>> import os, tempfile, vaezoo
        >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
        >>> vae = vaezoo.create("vae_f8_z4_micro", device="cpu")
        >>> vaezoo.export_checkpoint(vae, path, layout="documented")
        >>> [(candidate.layout, candidate.network) for candidate in vaezoo.recognize(path)]
        [('documented', 'vae_f8_z4_micro')]
    """
    return [candidate for candidate, _ in _candidates(read_header(path))]


def _candidates(header: Header) -> list[tuple[Candidate, VAE]]:
    """The candidates for a file, each with its network on the meta device."""
    views, found = _views(header), []
    for name, file in files("models").items():
        params = facts(name, file).params
        if any(_may_fit(params, seen) for seen in views.values()):
            vae = build(read_spec(file, name), "meta")
            fitting = _fitting_layouts(vae, header, views)
            found += [(Candidate(layout, name, why), vae) for layout, why in fitting.items()]
    return found


def _views(header: Header) -> dict[str, View]:
    return {name: view(header, layout) for name, layout in LAYOUTS.items()}


def _may_fit(params: int | None, seen: View) -> bool:
    """Whether the number of values in a file could be that of a network; cheaper than building the network."""
    if not params:
        return True
    values = sum(math.prod(shape) for shape in seen.shapes.values())
    return params <= values <= _MOST * params


def _fitting_layouts(vae: VAE, header: Header, views: Mapping[str, View]) -> dict[str, str]:
    """The layouts in which the names and shapes of a file are those of `vae`, each with the reason."""
    written_for = header.metadata.get(HASH_KEY)
    if written_for not in (None, vae.spec.hash):
        return {}
    reasons = {layout: _why(vae, layout, seen) for layout, seen in views.items()}
    certain = ", and it was written for this network" if written_for else ""
    return {layout: why + certain for layout, why in reasons.items() if why}


def _why(vae: VAE, layout: str, seen: View) -> str | None:
    """Why a file fits a network in a layout; `None` if it does not."""
    try:
        names = merge_fused(tensor_names_of(vae, layout), seen.names)
    except CheckpointError:  # the layout cannot express this network
        return None
    if not same_tensors(expected_shapes(names), seen.shapes):
        return None
    why = f"{len(seen.names)} names and shapes are the same"
    if seen.prefix:
        why += f" without the prefix {shown(seen.prefix)}"
    return f"{why}; left out by rule: {dropped_text(seen)}" if seen.dropped else why


def find_layout(vae: VAE, header: Header) -> str:
    """The layout of a file that is meant for `vae`; the nearest one if none fits, so that loading shows the diff."""
    fitting = list(_fitting_layouts(vae, header, _views(header)))
    return fitting[0] if fitting else _nearest_layout(vae, header)


def _nearest_layout(vae: VAE, header: Header) -> str:
    """The layout with the most names that are also in the file."""

    def shared(layout: str) -> int:
        try:
            return len(
                view(header, LAYOUTS[layout]).names.keys() & expected_shapes(tensor_names_of(vae, layout)).keys()
            )
        except CheckpointError:
            return -1

    return max(LAYOUTS, key=shared)


def choose(path: str | Path, header: Header, layout: str = "auto") -> tuple[VAE, str]:
    """The only network that fits a file, on the meta device, and its layout: the first one if several fit.

    Args:
        path: The file, for messages.
        header: Its header.
        layout: Only consider this layout; "auto" considers all.

    Raises:
        CheckpointError: If no network fits, or several do; the text lists them and names `network=` and `tag=`.
    """
    found = [(vae, c.layout) for c, vae in _candidates(header) if layout in ("auto", c.layout)]
    if len({vae.spec.name for vae, _ in found}) == 1:
        return found[0]
    if not found:
        half = header.shapes and all(name.partition(".")[0].isdecimal() for name in header.shapes)
        hint = "; it is half of a TAESD: give both halves as ENCODER,DECODER" if half else ""
        hint += remark(header)
        raise CheckpointError(
            f"{path}: its names and shapes fit no network of the zoo in any layout ({', '.join(LAYOUTS)}){hint}; name "
            "the nearest with network= (or tag=) to see what differs"
        )
    listing = ", ".join(f"{vae.spec.name} (layout {its_layout})" for vae, its_layout in found)
    raise CheckpointError(
        f"{path}: names and shapes fit several networks, which they cannot tell apart: {listing}; say which with "
        "network= (or tag= for weights on record)"
    )
