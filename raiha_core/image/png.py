"""PNG: its pixels apart from what is said beside them, 16 bits, which Pillow would squeeze through 8, and faster writing."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .picture import Picture
from .spaces import decode_curve, make_profile

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
COLOUR = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"mDCV", b"cLLI")
"""Chunks that say how the samples are to be shown (PNG, third edition)."""
_KEPT = (*COLOUR, b"tEXt", b"zTXt", b"iTXt")
_XMP = b"XML:com.adobe.xmp\0"
_UNPACKED = 2**24
"""Bytes that a compressed chunk may become; profiles are far smaller."""
# ITU-T H.273: primaries as white point and red, green, blue; transfer functions that are a power, or that of sRGB.
_CICP_PRIMARIES: dict[int, tuple[tuple[float, ...], tuple[float, ...]]] = {
    1: ((0.3127, 0.3290), (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)),
    9: ((0.3127, 0.3290), (0.708, 0.292, 0.170, 0.797, 0.131, 0.046)),
    12: ((0.3127, 0.3290), (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)),
}
_CICP_CURVES: dict[int, float | None] = {1: None, 4: 2.2, 5: 2.8, 6: None, 8: 1.0, 13: None}


@dataclass
class Contents:
    """A PNG file taken apart.

    Attributes:
        pixels: the file with the chunks that make pixels only; damage elsewhere costs no pixel.
        said: the first chunk of each other kind.
        kept: chunks to be written back, as they lie in the file, with their kinds.
        frames: of an animation; 1 for a still picture.
        height, width, depth, colour: the header's, 0 where it is damaged.
    """

    pixels: bytes = b""
    said: dict[bytes, bytes] = field(default_factory=dict)
    kept: list[tuple[bytes, bytes]] = field(default_factory=list)
    frames: int = 1
    height: int = 0
    width: int = 0
    depth: int = 0
    colour: int = 0

    @property
    def grey(self) -> bool:
        """Whether the samples have no colour."""
        return self.colour in (0, 4)


def take_apart(data: bytes, animation: bool = False) -> Contents:
    """Sort the chunks of a PNG file, damaged ones included.

    Args:
        data: the whole file.
        animation: leave an animation's frames among the pixels.
    """
    found, pieces = Contents(), [data[:8]]
    for kind, start, end in _chunks(data):
        body = data[start + 8 : end - 4]
        if kind == b"IHDR" and len(body) >= 10:
            found.width, found.height, found.depth, found.colour = struct.unpack_from(">IIBB", body)
        if not kind[0] & 0x20 or kind == b"tRNS" or (animation and kind in _ANIMATION):
            pieces.append(data[start:end])
        elif kind == b"acTL" and len(body) >= 4:
            found.frames = max(1, struct.unpack_from(">I", body)[0])
        else:
            found.said.setdefault(kind, body)
            whole = len(body) == end - start - 12 and zlib.crc32(kind + body) == int.from_bytes(data[end - 4 : end], "big")
            if kind in _KEPT and whole and not body.startswith(b"Raw profile type"):
                found.kept.append((kind, data[start:end]))
    found.pixels = b"".join(pieces)
    return found


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = min(len(data), at + 12 + length)
        yield kind, at, end
        at = end
        if kind == b"IEND":
            return


def exif_of(contents: Contents) -> bytes | None:
    """The EXIF block: of an eXIf chunk, or in the text chunk in which ImageMagick puts it."""
    if b"eXIf" in contents.said:
        return contents.said[b"eXIf"]
    raw = contents.said.get(b"zTXt", b"")
    if raw.startswith((b"Raw profile type exif\0", b"Raw profile type APP1\0")):
        with contextlib.suppress(zlib.error, ValueError, IndexError):
            # Name, zero, method; a line feed, the name, the length, then hexadecimal digits.
            return bytes.fromhex(_unpacked(raw.split(b"\0", 1)[1][1:]).split(b"\n", 3)[3].decode("ascii"))
    return None


def xmp_of(contents: Contents) -> bytes | None:
    """The XMP packet of a text chunk."""
    for kind, whole in contents.kept:
        if is_xmp(kind, whole):
            # Keyword, compressed or not, method, language, translated keyword, text.
            packed, rest = whole[8 + len(_XMP)], whole[8 + len(_XMP) + 2 : -4]
            with contextlib.suppress(zlib.error, IndexError):
                text = rest.split(b"\0", 2)[2]
                return _unpacked(text) if packed else text
    return None


def is_xmp(kind: bytes, chunk: bytes) -> bool:
    """Whether a chunk holds an XMP packet."""
    return kind == b"iTXt" and chunk[8:].startswith(_XMP)


def profile_of(contents: Contents) -> bytes | None:
    """An ICC profile of the colours, by what the standard puts first: cICP, iCCP, sRGB, then gAMA with cHRM; None for sRGB.

    Raises:
        ValueError: what it says cannot be understood; the sentence's end says what.
    """
    said = contents.said
    if len(said.get(b"cICP", b"")) == 4:
        gamut, transfer, matrix, full = said[b"cICP"]
        if gamut in _CICP_PRIMARIES and transfer in _CICP_CURVES and (matrix, full) == (0, 1):
            return _made(_CICP_CURVES[transfer], *_CICP_PRIMARIES[gamut], contents.grey)
        raise ValueError("its cICP chunk asks for a transfer of HDR or video")
    if b"iCCP" in said:
        try:
            return _unpacked(said[b"iCCP"].split(b"\0", 1)[1][1:])
        except (zlib.error, IndexError):
            raise ValueError("its colour profile is damaged") from None
    if b"sRGB" in said:
        return None
    gamma = int.from_bytes(said[b"gAMA"], "big") / 1e5 if len(said.get(b"gAMA", b"")) == 4 else None
    corners: tuple[float, ...] | None = None
    if len(said.get(b"cHRM", b"")) == 32:
        corners = tuple(v / 1e5 for v in struct.unpack(">8I", said[b"cHRM"]))
    if gamma is not None and not 0.05 <= gamma <= 5:
        raise ValueError("its gAMA chunk is damaged")
    # 1 / 2.2 is what writers of sRGB say.
    power = None if gamma is None or abs(gamma - 1 / 2.2) < 0.01 else 1 / gamma
    white, primaries = (corners[:2], corners[2:]) if corners else _CICP_PRIMARIES[1]
    return None if power is None and corners is None else _made(power, white, primaries, contents.grey)


def _made(power: float | None, white: tuple[float, ...], primaries: tuple[float, ...], grey: bool) -> bytes:
    return make_profile(power or 1.0, white, primaries, None if power else decode_curve(), grey)


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    return unpacker.decompress(data, _UNPACKED)


def deep_samples(contents: Contents) -> NDArray[Any] | None:
    """A 16-bit PNG's samples `(H, W[, C])` uint16, or None where the file has another depth."""
    if contents.depth != 16:
        return None
    import imagecodecs

    return np.asarray(imagecodecs.png_decode(contents.pixels))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write(part: Path, picture: Picture) -> None:
    """Write 8-bit or 16-bit samples; what is said of the colours, and EXIF, go into chunks before the pixels (PNG 3rd edition)."""
    import imagecodecs

    data = imagecodecs.png_encode(picture.straight().native(), level=4)
    end = len(SIGNATURE) + 25  # IHDR comes first and has a fixed length
    extra = b"".join(chunk for _, chunk in picture.chunks)
    if picture.icc and not any(kind in COLOUR for kind, _ in picture.chunks):
        extra += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(picture.icc))
    if picture.exif:
        extra += _chunk(b"eXIf", picture.exif.removeprefix(b"Exif\0\0"))
    if picture.xmp and not any(is_xmp(kind, chunk) for kind, chunk in picture.chunks):
        extra += _chunk(b"iTXt", _XMP + b"\0\0\0\0" + picture.xmp)
    with part.open("wb") as file:
        file.write(data[:end])
        file.write(extra)
        file.write(memoryview(data)[end:])
