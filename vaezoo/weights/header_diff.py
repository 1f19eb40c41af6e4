"""The difference between the tensors that a network needs and those that a file has, as text."""

import difflib

from vaezoo.formats.layouts.engine import Shapes

_MOST_LINES = 8  # of each kind; a file of another network differs in hundreds
_LONGEST_NAME = 120


def same_tensors(expected: Shapes, found: Shapes) -> bool:
    """Return whether names and shapes are equal, except for trailing dimensions of size 1 in the shapes.

    A 1x1 convolution therefore equals a linear layer.
    """
    return expected.keys() == found.keys() and all(_core(expected[key]) == _core(found[key]) for key in expected)


def header_diff(expected: Shapes, found: Shapes) -> str | None:
    """List missing and unexpected tensors and different shapes, with the most similar names.

    Args:
        expected: Name to shape of the tensors that the network needs.
        found: Name to shape of the tensors in the file.

    Returns:
        Several lines of text, or `None` if `same_tensors` holds.
    """
    if same_tensors(expected, found):
        return None
    missing = sorted(expected.keys() - found.keys())
    unexpected = sorted(found.keys() - expected.keys())
    shaped = sorted(key for key in expected.keys() & found.keys() if _core(expected[key]) != _core(found[key]))
    candidates = [name for name in unexpected[:500] if shown(name) == name]
    lines = [
        f"{len(missing)} missing, {len(unexpected)} unexpected, {len(shaped)} of another shape",
        *(f"  missing     {key} {expected[key]}{_similar(key, candidates)}" for key in missing[:_MOST_LINES]),
        *_more(missing),
        *(f"  unexpected  {shown(key)} {shown(found[key])}" for key in unexpected[:_MOST_LINES]),
        *_more(unexpected),
        *(f"  shape       {key} {shown(found[key])}, expected {expected[key]}" for key in shaped[:_MOST_LINES]),
        *_more(shaped),
    ]
    return "\n".join(lines)


def _core(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without its trailing dimensions of size 1."""
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _more(keys: list[str]) -> list[str]:
    more = len(keys) - _MOST_LINES
    return [f"  … and {more} more"] if more > 0 else []


def _similar(key: str, candidates: list[str]) -> str:
    similar = difflib.get_close_matches(key, candidates, n=1, cutoff=0.7)
    return f"   (similar: {similar[0]})" if similar else ""


def shown(value: object) -> str:
    """Return a name or shape from a file as short text without control characters."""
    text = str(value)
    shown = text if text.isprintable() else ascii(text)
    return shown if len(shown) <= _LONGEST_NAME else shown[:_LONGEST_NAME] + "…"
