"""Metadata of picture files: it never decides about the pixels, and what it says of them is used."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from support.pictures import BLUE, RED, chunk, chunks, noise, refusal, rgb, row, save

from vaezoo.io import images as vi

PIXELS = noise(12, 16)
LONG = zlib.compress(b"a prompt " * 200_000)  # 1.8 MB, as generators of pictures write them
BAD_SUM = chunk(b"tEXt", b"key\0value")[:-1] + b"\0"
CHUNKS = {
    "no name of a profile": chunk(b"iCCP", b"profile"),
    "unknown compression of a profile": chunk(b"iCCP", b"profile\0\x07"),
    "empty profile": chunk(b"iCCP", b""),
    "damaged profile": chunk(b"iCCP", b"profile\0\0" + b"damage"),
    "a profile that is too long": chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(17 * 2**20))),
    "damaged EXIF": chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"),
    "short EXIF": chunk(b"eXIf", b"I"),
    "long zTXt": chunk(b"zTXt", b"prompt\0\0" + LONG),
    "long iTXt": chunk(b"iTXt", b"workflow\0\1\0\0\0" + LONG),
    "unknown compression of a text": chunk(b"zTXt", b"prompt\0\x07"),
    "wrong checksum": BAD_SUM,
    "damaged EXIF as text": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n  4\nxyz")),
    "short gamma": chunk(b"gAMA", b"1"),
    "short chromaticities": chunk(b"cHRM", b"1"),
    "short size": chunk(b"pHYs", b"1"),
    "short sRGB": chunk(b"sRGB", b""),
    "short animation control": chunk(b"acTL", b"1"),
    "a stray frame": chunk(b"fcTL", bytes(26)),
}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", CHUNKS)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:a color profile")
def test_no_chunk_of_metadata_decides_about_the_pixels_of_a_png(tmp_path, name, after):
    data = save(Image.fromarray(PIXELS), tmp_path / "a.png").read_bytes()
    at = len(data) - 12 if after else 33  # before the last chunk, or after the first
    (tmp_path / "a.png").write_bytes(data[:at] + CHUNKS[name] + data[at:])
    assert torch.equal(vi.load_image(tmp_path / "a.png"), vi.to_tensor(PIXELS))


def test_metadata_between_the_parts_of_the_pixels_does_not_matter(tmp_path):
    data = save(Image.fromarray(PIXELS), tmp_path / "a.png").read_bytes()
    parts = [chunk(b"IDAT", each) + BAD_SUM for name, d in chunks(data) if name == b"IDAT" for each in (d[:50], d[50:])]
    (tmp_path / "a.png").write_bytes(data[:33] + b"".join(parts) + chunk(b"IEND", b""))
    assert torch.equal(vi.load_image(tmp_path / "a.png"), vi.to_tensor(PIXELS))


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


SEGMENTS = {
    "short JFIF": segment(0xE0, b"JFIF"),
    "short Adobe": segment(0xEE, b"Adobe"),
    "short profile": segment(0xE2, b"ICC_PROFILE\0"),
    "profile of which parts are missing": segment(0xE2, b"ICC_PROFILE\0\1\3profile"),
    "damaged list of pictures": segment(0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
    "list of pictures that are missing": segment(
        0xE2, b"MPF\0II*\0\x08\0\0\0\2\0" + struct.pack("<HHIIHHII", 0xB001, 4, 1, 2, 0xB002, 7, 4, 0) + bytes(4)
    ),
    "damaged EXIF": segment(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff"),
    "damaged Photoshop resources": segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\0\1 "),
    "comment": segment(0xFE, b"\xff\xd9"),
    "fill bytes": b"\xff\xff",
}


@pytest.mark.parametrize("name", SEGMENTS)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:a color profile")
def test_no_segment_of_metadata_decides_about_the_pixels_of_a_jpeg(tmp_path, name):
    path = save(Image.fromarray(PIXELS), tmp_path / "a.jpg")
    data, whole = path.read_bytes(), vi.load_image(path)
    for at in (2, 20):  # before and after the JFIF segment
        path.write_bytes(data[:at] + SEGMENTS[name] + data[at:])
        assert torch.equal(vi.load_image(path), whole)


def test_metadata_of_a_webp_that_is_cut_off_does_not_matter(tmp_path):
    whole = vi.load_image(save(Image.fromarray(PIXELS), tmp_path / "a.webp"))
    data = save(Image.fromarray(PIXELS), tmp_path / "b.webp", exif=b"Exif\0\0" + bytes(60)).read_bytes()
    (tmp_path / "b.webp").write_bytes(data[:-40])
    assert torch.equal(vi.load_image(tmp_path / "b.webp"), whole)
    (tmp_path / "b.webp").write_bytes(data[:-80])
    refusal(tmp_path / "b.webp")


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0damaged", b"Exif\0\0MM\0*\0\0"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_data_does_not_decide_about_the_pixels(tmp_path, exif, suffix):
    whole = vi.load_image(save(Image.fromarray(PIXELS), tmp_path / f"a{suffix}"))
    damaged = vi.load_image(save(Image.fromarray(PIXELS), tmp_path / f"b{suffix}", exif=exif))
    assert torch.equal(whole, damaged)


TURNED = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\3\0\0\0\0\0\0\0"  # by 180 degrees
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'
RAW = b"\nexif\n%8d\n" % len(TURNED) + TURNED.hex().encode()


@pytest.mark.parametrize(
    "text",
    [
        chunk(b"eXIf", TURNED[6:]),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(RAW)),
        chunk(b"tEXt", b"Raw profile type exif\0" + RAW),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)),
    ],
    ids=["eXIf", "zTXt", "tEXt", "iTXt", "compressed iTXt"],
)
@pytest.mark.parametrize("after", [False, True])
def test_a_png_is_turned_wherever_its_orientation_stands(tmp_path, text, after):
    data = save(row("RGB", RED, BLUE), tmp_path / "a.png").read_bytes()
    at = len(data) - 12 if after else 33
    (tmp_path / "a.png").write_bytes(data[:at] + text + data[at:])
    assert rgb(vi.load_image(tmp_path / "a.png")) == [BLUE, RED]


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_orientation_in_xmp_is_used(tmp_path, suffix):
    expected = np.asarray(vi.read_picture(save(Image.fromarray(PIXELS), tmp_path / f"a{suffix}")))[::-1, ::-1]
    path = save(Image.fromarray(PIXELS), tmp_path / f"b{suffix}", xmp=XMP)
    assert np.array_equal(np.asarray(vi.read_picture(path)), expected)
