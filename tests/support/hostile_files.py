"""Hypothesis strategies for damaged files: real files with bytes or values replaced, removed, repeated or moved."""

import copy
import json
from typing import Any

from hypothesis import strategies as st

TOKENS = [
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n", b"\t", b"\x1b[31m", b"\xe2\x80\xa8", b"\xc2\x85"),
    *(b"%YAML 1.1\n---\n", b"%YAML 1." + b"9" * 5000 + b"\n---\n", b"%TAG ! tag:x,2000:\n---\n", b"---\n", b"...\n"),
    *(b'"\\U00110000"', b'"\\UFFFFFFFF"', b'"\\ud800"', b'"\\0"', b'"\\x', b"&a ", b"*a", b"<<: *a", b"<<: {out: 1}, "),
    *(b"!!python/name:os.system ", b"!", b"? ", b": ", b"- ", b", ", b"[", b"]", b"{", b"}", b"|", b">", b"'", b'"'),
    *(b"[" * 3000, b"{a: " * 3000, b"- " * 3000, b"? " * 300, b"9" * 400, b"9" * 5000, b"1e400", b"-1e400", b".nan"),
    *(b"-.inf", b"-0.0", b"0x" + b"f" * 40, b"1_000", b"-1", b"65536", b"65537", b"64", b"true", b"null", b"~", b"yes"),
    *("٣".encode(), b"x" * 100_000, b"1, " * 5000, b"a: 1\n" * 3000, b"k" * 1025 + b": 1", b"block", b"encoder:\n"),
    *(b"#", b"shared: {out: 4}\n", b"moments", b"layers: 64, ", b"1.0e-5", b"x" * 9_000),
]  # fmt: skip
VALUES = [
    *(None, True, False, 0, 1, -1, 2, 3, 8, 16, 64, 65, 1024, 65_537, 10**18, -(10**400), 0.5, 1.0, -0.0, 1e-12, "٣"),
    *(1e308, float("nan"), float("inf"), "", " ", "image", "latent", "moments", "conv", "down", "up", "mid", "head"),
    *("auto", "relu", "deterministic", "conv_4x4", "nearest_conv_3x3", "1", "\ud800", "\0", "a\nb", "..", "a" * 10_000),
    *([], {}, [[]], {"": 1}, {"block": "conv"}, {"block": ["conv"]}, {"block": {}}, {"block": "down", "layers": 64}),
    *([1] * 3000, [{}] * 65, [{"block": "conv", "out": 65_536, "kernel": 31}] * 64, {f"k{i}": i for i in range(3000)}),
]  # fmt: skip
KEYS = ["", "block", "out", "heads", "resample", "shared", "default", "format", "<<", "é", "\0", "\ud800", "k" * 101]


@st.composite
def damaged(draw: st.DrawFn, texts: list[bytes]) -> bytes:
    """A real file with pieces replaced, repeated, removed or inserted."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from([0, 0, 1, 2, 5, 20, 100, 5000])))
        piece = draw(st.sampled_from(TOKENS) | st.binary(max_size=4) | st.just(text[start:end] * 2) | st.just(b""))
        text = text[:start] + piece + text[end:]
    return text


@st.composite
def rearranged(draw: st.DrawFn, trees: list[Any]) -> bytes:
    """The data of a real file with values replaced, removed, renamed or moved, as JSON, which is also valid YAML."""
    root = [copy.deepcopy(draw(st.sampled_from(trees)))]
    for _ in range(draw(st.integers(1, 4))):
        holder, key = draw(st.sampled_from(spots(root)))
        action = draw(st.sampled_from(["replace", "replace", "remove", "rename", "move"]))
        if action == "replace" or holder is root:
            holder[key] = copy.deepcopy(draw(st.sampled_from(VALUES) | st.integers(-2, 70) | st.floats() | st.text()))
        elif action == "move":
            other, place = draw(st.sampled_from(spots(root)))
            holder[key] = copy.deepcopy(other[place])
        else:
            value = holder.pop(key)
            if action == "rename" and isinstance(holder, dict):
                holder[draw(st.sampled_from(KEYS) | st.just(key + "s"))] = value
    return json.dumps(root[0]).encode()


def spots(holder: Any) -> list[tuple[Any, Any]]:
    """Return every location of a value in a tree: its list or mapping, and its index or key."""
    keys = list(holder) if isinstance(holder, dict) else range(len(holder))
    below = [spot for key in keys if isinstance(holder[key], (dict, list)) for spot in spots(holder[key])]
    return [(holder, key) for key in keys] + below
