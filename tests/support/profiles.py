"""ICC profiles, written from the formulas of their color spaces, and these formulas."""

import struct
from collections.abc import Callable

import numpy as np

D65, D50 = np.array([0.3127 / 0.3290, 1, 0.3583 / 0.3290]), np.array([0.96422, 1, 0.82521])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
ADAPTED = np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ D50 / (BRADFORD @ D65)) @ BRADFORD
PRIMARIES = {
    "srgb": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    "p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    "adobe": ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)),
}
INKS = ((0, 158, 224), (230, 0, 126), (255, 237, 0), (35, 31, 32))  # sRGB of cyan, magenta, yellow and black at 100 %


def to_xyz(space: str) -> np.ndarray:
    """The matrix from linear RGB to XYZ of D65, from the primaries of the space."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in PRIMARIES[space]]).T
    return columns * np.linalg.solve(columns, D65)


def linear(level: np.ndarray) -> np.ndarray:
    """Light of sRGB values in [0, 1]."""
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)


def srgb_of_light(light: np.ndarray) -> np.ndarray:
    """8-bit sRGB levels of linear light."""
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def srgb_of(space: str, color: tuple[int, ...], light: Callable[[np.ndarray], np.ndarray] = linear) -> np.ndarray:
    """8-bit sRGB levels of a color of another space, by the matrices alone."""
    return srgb_of_light(np.linalg.solve(to_xyz("srgb"), to_xyz(space) @ light(np.array(color) / 255)))


def rgb_profile(space: str, gamma: float | None = None) -> bytes:
    """A profile of an RGB space, with the curve of sRGB or a power."""
    numbers = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045) if gamma is None else (gamma,)
    curve = b"para" + struct.pack(">IHH", 0, 0 if gamma else 3, 0) + fixed(*numbers)
    primaries = (ADAPTED @ to_xyz(space)).T
    tags = {f"{name}XYZ": b"XYZ \0\0\0\0" + fixed(*xyz) for name, xyz in zip("rgb", primaries, strict=True)}
    return profile("RGB ", "XYZ ", {**tags, **{f"{name}TRC": curve for name in "rgb"}})


def gray_profile(gamma: float) -> bytes:
    return profile("GRAY", "XYZ ", {"kTRC": b"para" + struct.pack(">IHH", 0, 0, 0) + fixed(gamma)})


def cmyk_profile() -> bytes:
    """A profile of a print with these inks, whose light multiplies."""
    lights = linear(np.array(INKS) / 255)
    corners = [[(n >> 3) & 1, (n >> 2) & 1, (n >> 1) & 1, n & 1] for n in range(16)]
    grid = b"".join(lab(np.prod(np.where(np.array(c)[:, None], lights, 1), axis=0)) for c in corners)
    ramp = bytes(range(256))
    table = b"mft1" + struct.pack(">I4B", 0, 4, 3, 2, 0) + fixed(*np.eye(3).ravel()) + ramp * 4 + grid + ramp * 3
    return profile("CMYK", "Lab ", {"A2B0": table}, "prtr")


def lab(light: np.ndarray) -> bytes:
    """CIE Lab of linear sRGB light, in the encoding of 8-bit tables."""
    ratio = ADAPTED @ to_xyz("srgb") @ light / D50
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    values = (116 * f[1] - 16) * 2.55, 500 * (f[0] - f[1]) + 128, 200 * (f[1] - f[2]) + 128
    return bytes(round(value) for value in np.clip(values, 0, 255))


def profile(space: str, target: str, tags: dict[str, bytes], kind: str = "mntr") -> bytes:
    """The header, the table of tags and the tags of a profile."""
    version = 0x02100000 if kind == "prtr" else 0x04300000
    tags = {"wtpt": b"XYZ \0\0\0\0" + fixed(*D50), **tags}
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        table += name.encode() + struct.pack(">II", start + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    kinds = f"{kind}{space}{target}".encode()
    header = struct.pack(">III", start + len(body), 0, version) + kinds + bytes(12) + b"acsp" + bytes(28) + fixed(*D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def fixed(*numbers: float) -> bytes:
    """Numbers as 32 bits, of which 16 are behind the point."""
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)
