"""The difference between the tensors a network wants and those a file has, for people."""

import difflib

from vaezoo.formats.layouts.engine import Shapes

_MOST_LINES = 8  # of each kind; a file of another network differs in hundreds
_LONGEST_NAME = 120


def same_tensors(wanted: Shapes, found: Shapes) -> bool:
    """Whether names and shapes are equal, but for trailing dimensions of size 1 (a 1x1 convolution, a linear layer)."""
    return wanted.keys() == found.keys() and all(_core(wanted[key]) == _core(found[key]) for key in wanted)


def header_diff(wanted: Shapes, found: Shapes) -> str | None:
    """Missing, unexpected and mis-shaped tensors with the nearest names, or None where they are the same tensors."""
    if same_tensors(wanted, found):
        return None
    missing = sorted(wanted.keys() - found.keys())
    unexpected = sorted(found.keys() - wanted.keys())
    shaped = sorted(key for key in wanted.keys() & found.keys() if _core(wanted[key]) != _core(found[key]))
    lines = [f"{len(missing)} missing, {len(unexpected)} unexpected, {len(shaped)} of another shape"]
    candidates = [name for name in unexpected[:500] if _cut(name) == name]
    lines += _some(
        [f"  missing     {key} {wanted[key]}{_near(key, candidates)}" for key in missing[:_MOST_LINES]], missing
    )
    lines += _some([f"  unexpected  {_cut(key)} {_cut(found[key])}" for key in unexpected[:_MOST_LINES]], unexpected)
    lines += _some(
        [f"  shape       {key} {_cut(found[key])}, wanted {wanted[key]}" for key in shaped[:_MOST_LINES]], shaped
    )
    return "\n".join(lines)


def _core(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without its trailing dimensions of size 1."""
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _some(lines: list[str], keys: list[str]) -> list[str]:
    more = len(keys) - len(lines)
    return [*lines, f"  … and {more} more"] if more else lines


def _near(key: str, candidates: list[str]) -> str:
    near = difflib.get_close_matches(key, candidates, n=1, cutoff=0.7)
    return f"   (there is {near[0]})" if near else ""


def _cut(foreign: object) -> str:
    """A name or shape from a file as text, short and without control characters."""
    text = str(foreign)
    shown = text if text.isprintable() else ascii(text)
    return shown if len(shown) <= _LONGEST_NAME else shown[:_LONGEST_NAME] + "…"
