"""Synthetic pictures: noise, rows of pixels, 16-bit PNG files."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vaezoo.errors import ImageError
from vaezoo.io import images as vi

LANCZOS = Image.Resampling.LANCZOS
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def noise(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)
    return values.squeeze(2) if channels == 1 else values


def rgb(tensor: torch.Tensor) -> list[tuple[int, ...]]:
    """Return the 8-bit pixels of a tensor of shape (1, 3, H, W), row by row."""
    assert tensor.dtype == torch.float32
    assert tensor.shape[:2] == (1, 3)
    assert tensor.abs().max() <= 1
    return [tuple(pixel) for pixel in ((tensor[0] + 1) * 127.5).round().int().flatten(1).T.tolist()]


def save(picture: Image.Image, path: Path, **options) -> Path:
    picture.save(path, **options)
    return path


def row(mode: str, *pixels: int | tuple[int, ...]) -> Image.Image:
    picture = Image.new(mode, (len(pixels), 1))
    for x, pixel in enumerate(pixels):
        picture.putpixel((x, 0), pixel)
    return picture


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The names and contents of the chunks of a PNG file."""
    found, at = [], 8
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        found.append((name, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def with_checksums(data: bytes) -> bytes:
    """A damaged PNG file with valid checksums, so that its damage reaches the readers of the chunks."""
    if data[:4] != b"\x89PNG":
        return data
    return data[:8] + b"".join(chunk(name, content) for name, content in chunks(data))


def write_png(path: Path, array: np.ndarray, transparency: bytes = b"") -> Path:
    """Write a 16-bit PNG with 1 (gray), 2 (gray and alpha), 3 or 4 channels, which Pillow cannot write."""
    height, width, channels = array.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in array)
    body = chunk(b"IHDR", header) + (chunk(b"tRNS", transparency) if transparency else b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ImageError) as raised:
        vi.load_image(path)
    assert str(raised.value).startswith(f"{path}: ")
    return str(raised.value)
