"""A `NameTable`: how one library names the tensors of one family of networks."""

import re
from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vaezoo.errors import CheckpointError
from vaezoo.formats.layouts.engine import Shapes, TensorNames
from vaezoo.specs.model import HALVES, ModelSpec

_LEVELS = ("down", "up", "dc_down", "dc_up", "vit_down", "vit_up", "tiny_down", "tiny_up")
_SCALE = re.compile(r"(?<=\bgather)\.(\d+)")  # one of the aggregated scales of an EfficientViT attention


class _Block(NamedTuple):
    """A row of a spec with its role and the numbers that templates refer to."""

    half: str
    role: str
    block: str
    arguments: Mapping[str, Any]
    order: int
    level: int
    start: int  # modules of the half before this row
    resampler: int  # modules of the row's resampler


@dataclass(frozen=True, kw_only=True)
class NameTable:
    """The names that a library gives to the tensors of one family of networks.

    Every row of a spec has a role: "level" for layers with a resampler, "stem" for the convolution directly before the
    levels or the middle, "quant" for any other convolution, or else the name of its block ("mid", "head", "norm_act").
    Templates may refer to `{half}` and to these numbers:

    - `{order}` counts the rows of the same role in forward order; `{level}` is 0 at full resolution.
    - `{from_order}` and `{from_level}` are those of the level before a resampler, in a decoder the previous row.
    - `{r}`, `{r_plus_1}` and `{r_times_2}` count the layers of a row.
    - `{index}` counts the layers and the resampler of a row, `{flat}` the modules of the whole half.

    Args:
        layout: Name of the layout, for error messages.
        blocks: Half to the regular expression that the names of its blocks, joined by spaces, must match.
        modules: Templates by role and module: "stem", "head norm", "level layers", "mid attentions". A key may begin
            with the half ("encoder quant") or end with the resampler ("level resample conv_3x3_average"); the most
            specific key is used.
        inside: Templates of the modules of a layer or an attention; three for `qkv` if queries, keys and values are
            separate. `{scale}` is the number of an aggregated scale. The name of the tensor follows a template unless
            it has `{leaf}`.
        fused: Template under which some files store separate queries, keys and values in one piece.
        allowed: Values that the arguments of a row may have, by "all", role, or half and role; an empty tuple forbids
            the argument. A missing argument has its default, which every layout can express; a missing `shortcut` is
            checked as `None`.
        latents: Kinds of latents that the layout can express.
        gain: Name of the scale of a norm.
        linear: Whether the projections of attention are linear layers rather than 1x1 convolutions.
        causal: Whether convolutions, except those of resamplers, are causal 3-D convolutions.
        counted: Block to the number of modules that its row adds to `{flat}`; 0 for other rows without layers.
        upsampler: Number of modules that the resampler of a decoder adds to `{index}` and `{flat}`.
    """

    layout: str
    blocks: Mapping[str, str]
    modules: Mapping[str, str]
    inside: Mapping[str, str | tuple[str, ...]]
    allowed: Mapping[str, Mapping[str, Container[Any]]]
    fused: str = ""
    latents: tuple[str, ...] = ("gaussian", "deterministic")
    gain: str = "weight"
    linear: bool = False
    causal: bool = False
    counted: Mapping[str, int] = field(default_factory=dict)
    upsampler: int = 1

    def tensor_names(self, spec: ModelSpec, shapes: Shapes) -> list[TensorNames]:
        """Return the names of all tensors of a network, in the order of `shapes`.

        Args:
            spec: The network.
            shapes: State-dict keys and shapes of the network.

        Raises:
            CheckpointError: If the layout cannot express the network.
        """
        if spec.latent.kind not in self.latents:
            raise CheckpointError(f"layout {self.layout} cannot express latent.kind: {spec.latent.kind!r}")
        rows = {}
        for half in HALVES:
            rows[half] = self._rows(spec, half)
            self._check(half, rows[half])
        found = []
        for key, shape in shapes.items():
            half, index, rest = key.split(".", 2)
            found.append(self._translate(key, rows[half][int(index)], rest, shape))
        return found

    def _rows(self, spec: ModelSpec, half: str) -> list[_Block]:
        rows, decoder = getattr(spec, half), half == "decoder"
        roles = [_role([row.block for row in rows[index : index + 2]]) for index in range(len(rows))]
        # a resampler in place of the first (or last) convolution is a level without layers
        empty = rows[-1 if decoder else 0].block in ("downsample", "upsample")
        highest, seen, start, found = roles.count("level") - 1, Counter[str](), 0, []
        for row, role in zip(rows, roles, strict=True):
            order = seen[role]
            level = empty + (highest - order if decoder else order)
            resampled = role == "level" and row.arguments["resample"] is not None
            resampler = resampled * (self.upsampler if decoder else 1)
            found.append(_Block(half, role, row.block, row.arguments, order, level, start, resampler))
            seen[role] += 1
            start += resampler + row.arguments["layers"] if role == "level" else self.counted.get(row.block, 0)
        return found

    def _check(self, half: str, rows: list[_Block]) -> None:
        """Raise `CheckpointError` unless the layout can express the rows of a half."""
        blocks = " ".join(row.block for row in rows)
        if not re.fullmatch(self.blocks[half], blocks):
            raise CheckpointError(f"layout {self.layout}: the {half} must be {self.blocks[half]}, but is {blocks}")
        for index, row in enumerate(rows):
            allowed: dict[str, Container[Any]] = {}
            for key in ("all", row.role, f"{half} {row.role}"):
                allowed |= self.allowed.get(key, {})
            arguments = {"shortcut": None, **row.arguments}
            wrong = [key for key, values in allowed.items() if key in arguments and arguments[key] not in values]
            if row.resampler and row.order == 0 and half == "decoder" and "{from_" in self._template(row, "resample"):
                wrong.append("resample")  # no previous level that the names could refer to
            if wrong:
                path = f"{half}[{index}].{wrong[0]}"
                raise CheckpointError(f"layout {self.layout} cannot express {path}: {arguments[wrong[0]]!r}")

    def _template(self, row: _Block, module: str) -> str:
        general = f"{row.role} {module}".strip()
        specific = (f"{general} {row.arguments.get('resample')}", f"{row.half} {general}")
        return self.modules[next((key for key in specific if key in self.modules), general)]

    def _translate(self, key: str, row: _Block, rest: str, shape: tuple[int, ...]) -> TensorNames:
        """Return the names of one tensor, called `rest` within its row."""
        *path, leaf = rest.split(".")
        owner, r = "", 0
        if path and path[0] in ("layers", "attentions"):
            owner, r, path = path[0], int(path[1]), path[2:]
        module = ".".join(path)
        inside = self.inside[_SCALE.sub("", module)] if owner else ""
        pieces = (inside,) if isinstance(inside, str) else inside
        shape = (shape[0] // len(pieces), *shape[1:])
        kind, last_frame = module.rpartition(".")[2], False
        if leaf == "weight":
            if kind.startswith("norm"):
                leaf = self.gain
            elif kind in ("qkv", "proj"):
                shape = shape[:2] if self.linear else (*shape[:2], 1, 1)
            elif self.causal and kind != "resample":
                shape, last_frame = (*shape, shape[-1]), shape[-1] > 1
        numbers = {**_numbers(row, owner or module, r), "leaf": leaf}
        if scale := _SCALE.search(module):
            numbers["scale"] = scale[1]
        base = self._template(row, owner or module)
        names = tuple(_fill(f"{base}.{piece}" if piece else base, numbers) for piece in pieces)
        fused = _fill(f"{base}.{self.fused}", numbers) if len(pieces) > 1 else None
        return TensorNames(key, names, shape, fused, last_frame)


def _numbers(row: _Block, module: str, r: int) -> dict[str, str | int]:
    decoder = row.half == "decoder"
    if module == "resample" and row.role == "level":
        index = row.resampler - 1 if decoder else row.arguments["layers"]
    else:
        index = r + row.resampler * decoder
    return {
        "half": row.half,
        "order": row.order,
        "level": row.level,
        "from_order": row.order - decoder,
        "from_level": row.level + decoder,
        "r": r,
        "r_plus_1": r + 1,
        "r_times_2": 2 * r,
        "index": index,
        "flat": row.start + index,
    }


def _role(blocks: list[str]) -> str:
    """Return the role of a row from the names of its block and of the following one."""
    block, *following = blocks
    if block == "conv":
        return "stem" if set(following) & {"mid", *_LEVELS} else "quant"
    return "level" if block in _LEVELS else block


def _fill(template: str, numbers: Mapping[str, str | int]) -> str:
    return (template if "{leaf}" in template else f"{template}.{{leaf}}").format(**numbers)
