"""Layouts of the LDM family: a stem, levels, a middle, a head, quant convs. A dialect is what they are called."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vaezoo.errors import CheckpointError
from vaezoo.formats.layouts.engine import Part, Shapes, check_order, check_values
from vaezoo.specs.model import HALVES, BlockSpec, ModelSpec

_ROWS = {"encoder": r"(haar )?conv (down )+mid head( conv)?", "decoder": r"(conv )?conv mid (up )+head( inverse_haar)?"}
_KERNELS = {"stem": 3, "quant": 1, "head": 3}


@dataclass(frozen=True)
class Place:
    """Where a row stands: its kind, the numbers of its level, and those that its resampler counts with."""

    kind: str
    numbers: Mapping[str, int] = field(default_factory=dict)
    start: int = 0
    resampler_numbers: Mapping[str, int] = field(default_factory=dict)

    def name(self, template: str, half: str, r: int = 0) -> str:
        """The template filled in for layer `r` of this row."""
        return template.format(half=half, r=r, r1=r + 1, r2=2 * r, flat=self.start + r, **self.numbers)

    def resampler(self, template: str) -> str:
        """The template filled in for this row's resampler."""
        return template.format(**self.resampler_numbers)


def places(rows: tuple[BlockSpec, ...], half: str) -> list[Place]:
    """The place of each row of a stack."""
    levels = sum(row.block in ("down", "up") for row in rows)
    convs = [index for index, row in enumerate(rows) if row.block == "conv"]
    stem = convs[0] if half == "encoder" else convs[-1]
    found, order, flat, last = [], 0, 0, {}
    for index, row in enumerate(rows):
        if row.block == "conv":
            found.append(Place("stem" if index == stem else "quant"))
        elif row.block in ("down", "up"):
            layers, resampled = row.arguments["layers"], row.arguments["resample"] is not None
            numbers = {"order": order, "level": order if half == "encoder" else levels - 1 - order}
            down = half == "encoder"  # layers first, and the resampler counts with its own level
            resampler = {**numbers, "flat": flat + layers} if down else {**last, "flat": flat}
            found.append(Place("level", numbers, flat if down else flat + resampled, resampler))
            order, flat, last = order + 1, flat + layers + resampled, numbers
        else:
            found.append(Place(row.block))
    return found


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """Names of the tensors of an LDM-like network.

    Templates may hold `{half}`, `{level}` (0 is the full resolution), `{order}` (levels in forward order), `{r}`
    (layers in a level; `{r1}` is one more, `{r2}` twice that) and `{flat}` (layers and resamplers of a half counted
    through). A resampler of the decoder has the numbers of the level before it.

    Args:
        name: Of the layout, for errors.
        layer: Half to the template of a residual layer.
        attention: Half to the template of an attention after a residual layer.
        resample: Half to the template of a resampler.
        mid_layer: Template of a residual layer in the middle.
        mid_attention: Template of the attention in the middle.
        inside: Names within a residual layer or an attention; `qkv` is a tuple where they are kept apart, and `fused`
            the name under which some files keep them together.
        ends: Templates of `stem`, `norm_out` and `conv_out`.
        quant: Half to the name of its quant conv.
        gain: Name of a norm's scale.
        linear: Whether attention has linear layers, not 1x1 convolutions.
        deep: Whether convolutions are 3-D.
        shortcuts: Whether the encoder's head averages its input to its result, and the decoder's stem repeats it.
        wavelets: Whether the image may be turned into wavelets first.
        latents: Kinds of latents.
        fits: Values that rows may have, by key.
    """

    name: str
    layer: Mapping[str, str]
    attention: Mapping[str, str]
    resample: Mapping[str, str]
    mid_layer: str
    mid_attention: str
    inside: Mapping[str, str | tuple[str, ...]]
    ends: Mapping[str, str]
    quant: Mapping[str, str]
    gain: str = "weight"
    linear: bool = False
    deep: bool = False
    shortcuts: bool = False
    wavelets: bool = False
    latents: tuple[str, ...] = ("gaussian",)
    fits: Mapping[str, tuple[Any, ...]]

    def parts(self, spec: ModelSpec, shapes: Shapes) -> list[Part]:
        """The part of each of our tensors.

        Raises:
            CheckpointError: If the network is not of this kind.
        """
        if spec.latent.kind not in self.latents:
            raise CheckpointError(f"layout {self.name} cannot express latent.kind: {spec.latent.kind!r}")
        where = {(half, str(i)): place for half in HALVES for i, place in enumerate(self._places(spec, half))}
        parts = []
        for key, shape in shapes.items():
            half, index, rest = key.split(".", 2)
            parts.append(self._part(key, half, where[half, index], rest, shape))
        return parts

    def _places(self, spec: ModelSpec, half: str) -> list[Place]:
        rows = getattr(spec, half)
        order = _ROWS[half] if self.wavelets else re.sub(r"\(haar \)\?|\( inverse_haar\)\?", "", _ROWS[half])
        check_order(self.name, half, rows, order)
        found = places(rows, half)
        for index, (row, place) in enumerate(zip(rows, found, strict=True)):
            self._check(row, place, half, f"{half}[{index}]")
        return found

    def _check(self, row: BlockSpec, place: Place, half: str, path: str) -> None:
        """Raise unless the dialect can express a row; a key that the row lacks is at its default, which all can."""
        averaged, repeated = half == "encoder" and place.kind == "head", half == "decoder" and place.kind == "stem"
        shortcut = ("average" if averaged else "duplicate" if repeated else None) if self.shortcuts else None
        fits = {**self.fits, "shortcut": (shortcut,)}
        if place.kind in _KERNELS:
            fits["kernel"] = (_KERNELS[place.kind],)
        if place.kind == "mid":
            fits["layers"] = (1,)
        if place.kind == "level" and not self.attention:
            fits["heads"] = (0,)
        said = {"shortcut": None, **row.arguments} if place.kind in ("head", "stem") else row.arguments
        check_values(self.name, path, said, fits)

    def _part(self, key: str, half: str, place: Place, rest: str, shape: tuple[int, ...]) -> Part:
        what, *inner, leaf = rest.split(".") if "." in rest else ("", rest)
        if place.kind in ("stem", "quant"):
            template = self.ends["stem"] if place.kind == "stem" else self.quant[half]
            return self._conv(key, place.name(template, half), leaf, shape)
        if place.kind == "head":
            name = place.name(self.ends[f"{what}_out"], half)
            return self._norm(key, name, leaf, shape) if what == "norm" else self._conv(key, name, leaf, shape)
        if what == "resample":
            return Part(key, (f"{place.resampler(self.resample[half])}.{leaf}",), shape)
        (r, sub), middle = inner, place.kind == "mid"
        if what == "attentions":
            template = self.mid_attention if middle else self.attention[half]
            return self._attention(key, place.name(template, half, int(r)), sub, leaf, shape)
        base = place.name(self.mid_layer if middle else self.layer[half], half, int(r))
        make = self._norm if sub.startswith("norm") else self._conv
        return make(key, f"{base}.{self.inside[sub]}", leaf, shape)

    def _attention(self, key: str, base: str, sub: str, leaf: str, shape: tuple[int, ...]) -> Part:
        if sub == "norm":
            return self._norm(key, f"{base}.{self.inside['norm']}", leaf, shape)
        ones = (1, 1) if leaf == "weight" and not self.linear else ()
        inside = self.inside[sub]
        if isinstance(inside, str):
            return Part(key, (f"{base}.{inside}.{leaf}",), (*shape, *ones))
        names = tuple(f"{base}.{name}.{leaf}" for name in inside)
        fused = f"{base}.{self.inside['fused']}.{leaf}"
        return Part(key, names, (shape[0] // len(inside), *shape[1:], *ones), fused)

    def _conv(self, key: str, name: str, leaf: str, shape: tuple[int, ...]) -> Part:
        """A convolution, which in a deep dialect has a third dimension as large as its kernel."""
        if not self.deep or leaf == "bias":
            return Part(key, (f"{name}.{leaf}",), shape)
        out, channels, kernel, _ = shape
        return Part(key, (f"{name}.{leaf}",), (out, channels, kernel, kernel, kernel), last=kernel > 1)

    def _norm(self, key: str, name: str, leaf: str, shape: tuple[int, ...]) -> Part:
        return Part(key, (f"{name}.{self.gain if leaf == 'weight' else leaf}",), shape)
