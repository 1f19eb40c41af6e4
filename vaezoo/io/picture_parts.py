"""Takes JPEG, PNG and WebP files apart into pixels and metadata.

Pillow parses all metadata when it opens a picture, so a damaged color profile or a long text would make it refuse
pixels that are whole. It therefore gets a copy of the file with only the parts that decide about the pixels.
"""

import io
import struct
import zlib
from typing import Any, BinaryIO, NamedTuple

LONGEST = 16 * 2**20  # bytes of metadata when decompressed; no more of a decompression bomb is read
EXIF_TEXT, XMP_TEXT = b"Raw profile type exif", b"XML:com.adobe.xmp"  # as ImageMagick and Adobe name them in PNGs
XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"
WEBP_PIXELS = (b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L")
WEBP_METADATA = {b"ICCP": "icc_profile", b"EXIF": "exif", b"XMP ": "xmp"}
Info = dict[str | tuple[int, int], Any]  # as Pillow types it


class PictureParts(NamedTuple):
    """A picture file, taken apart.

    Args:
        pixels: File of the same format, without metadata.
        info: Metadata by the keys of `Image.info`: "exif", "Raw profile type exif", "xmp" and "icc_profile", which is
            empty if it is damaged.
        frames: Frames of an animated PNG, otherwise 1.
    """

    pixels: BinaryIO
    info: Info
    frames: int = 1


def take_apart(file: BinaryIO) -> PictureParts:
    """Take a picture file apart; one of an unknown format is left as it is, and damage of the pixels stays."""
    start = file.read(16)
    file.seek(0)
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(memoryview(file.read()))
    if start.startswith(b"\xff\xd8\xff"):
        return _jpeg(memoryview(file.read()))
    if start.startswith(b"RIFF") and start.endswith(b"WEBPVP8X"):  # WebP files of other kinds have no metadata
        return _webp(memoryview(file.read()))
    return PictureParts(file, {})


def _png(data: memoryview) -> PictureParts:
    """Keep the critical chunks, whose names begin with a capital letter, and `tRNS`."""
    kept, found, frames, at = [data[:8]], Info(), 1, 8
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        content, checksum = bytes(data[at + 8 : end - 4]), bytes(data[end - 4 : end])
        if not name.isalpha():  # damaged: which chunks follow is not known
            kept.append(data[at:])
            break
        if name[:1].isupper() or name == b"tRNS":
            kept.append(data[at:end])
        elif checksum != zlib.crc32(content, zlib.crc32(name)).to_bytes(4, "big"):
            found |= {"icc_profile": b""} if name == b"iCCP" else {}
        elif name == b"acTL" and length == 8:
            frames = int.from_bytes(content[:4], "big")
        else:
            found |= _png_metadata(name, content)
        at = end
    return PictureParts(io.BytesIO(b"".join(kept)), found, frames)


def _png_metadata(name: bytes, content: bytes) -> Info:
    key, _, value = content.partition(b"\0")
    if name == b"iCCP":
        return {"icc_profile": _inflated(value[1:])}
    if name == b"eXIf":
        return {"exif": b"Exif\0\0" + content}
    if key not in (EXIF_TEXT, XMP_TEXT) or name not in (b"tEXt", b"zTXt", b"iTXt"):
        return {}
    if name == b"iTXt":  # a flag, the method of compression, a language and a translated key stand before the text
        text = value[2:].split(b"\0", 2)[-1]
        value = _inflated(text) if value[:1] == b"\1" else text
    elif name == b"zTXt":
        value = _inflated(value[1:])
    return {"xmp": value} if key == XMP_TEXT else {EXIF_TEXT.decode(): value.decode("latin-1")}


def _jpeg(data: memoryview) -> PictureParts:
    """Drop application segments and comments up to the first scan, except those that state the color model."""
    kept, found, profile, at = [data[:2]], Info(), list[tuple[int, int, bytes]](), 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        end = at + 2 + length
        if marker < 0xC0 or 0xD0 <= marker <= 0xDA or length < 2 or end > len(data):  # a scan, or damaged
            break
        content = bytes(data[at + 4 : end])
        if marker == 0xE1 and content.startswith(b"Exif\0\0"):
            found["exif"] = found["exif"] + content[6:] if "exif" in found else content
        elif marker == 0xE1 and content.startswith(XMP_SEGMENT):
            found["xmp"] = content[len(XMP_SEGMENT) :]
        elif marker == 0xE2 and content.startswith(b"ICC_PROFILE\0"):
            profile.append((*content[12:14].ljust(2, b"\0"), content[14:]))
        elif _decides(marker, content):
            kept.append(data[at:end])
        at = end
    if profile:
        whole = len(profile) == profile[0][1]
        found["icc_profile"] = b"".join(part for _, _, part in sorted(profile)) if whole else b""
    return PictureParts(io.BytesIO(b"".join([*kept, data[at:]])), found)


def _decides(marker: int, content: bytes) -> bool:
    """Whether a segment decides about the pixels; libjpeg ignores short ones of JFIF and Adobe, Pillow refuses them."""
    if marker == 0xE0:
        return content.startswith(b"JFIF\0") and len(content) >= 14
    if marker == 0xEE:
        return content.startswith(b"Adobe") and len(content) >= 12
    return not 0xE0 <= marker <= 0xEF and marker != 0xFE


def _webp(data: memoryview) -> PictureParts:
    kept, found, at = list[bytes | memoryview](), Info(), 12
    data = data[: 8 + int.from_bytes(data[4:8], "little")]  # what follows is no part of the picture
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        if name == b"VP8X" and at + 8 < len(data):
            flags = data[at + 8] & 0b00010010  # transparency and animation; the others announce metadata
            kept += [data[at : at + 8], bytes([flags]), data[at + 9 : end]]
        elif name in WEBP_PIXELS:
            kept.append(data[at:end])
        elif name in WEBP_METADATA:
            found[WEBP_METADATA[name]] = bytes(data[at + 8 : at + 8 + length])
        at = end
    size = 4 + sum(map(len, kept))
    return PictureParts(io.BytesIO(b"".join([b"RIFF", struct.pack("<I", size), b"WEBP", *kept])), found)


def _inflated(data: bytes) -> bytes:
    """Decompress metadata; empty if it is damaged or too long."""
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, LONGEST)
    except zlib.error:
        return b""
    return text if inflater.eof else b""
