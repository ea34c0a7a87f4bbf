"""Hostile pictures, every format that is read: header lies, truncation, splices, bombs, odd channels, depths, profiles, orientations.

Every case is made of a seed alone, so that one that fails can be made again.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise

import numpy as np
import tifffile
from PIL import Image, ImageCms

Case = tuple[str, bytes]
"""Suffix and contents of a file."""


def _array(rng: random.Random, channels: int = 3, dtype: str = "u1") -> np.ndarray:
    noise = np.random.default_rng(rng.randrange(2**32))
    shape = (rng.randint(1, 40), rng.randint(1, 40), channels)[: 3 if channels > 1 else 2]
    return (noise.random(shape) * {"u1": 256, "u2": 65536, "f4": 1.5}.get(dtype, 200)).astype(dtype)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


_KINDS = {
    ".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP", ".bmp": "BMP", ".gif": "GIF", ".tga": "TGA", ".ppm": "PPM", ".jp2": "JPEG2000",
    ".avif": "AVIF", ".tif": "TIFF", ".qoi": "QOI", ".dib": "DIB", ".ico": "ICO", ".pcx": "PCX", ".sgi": "SGI", ".psd": "PSD",
}  # fmt: skip
_MODES = {".jpg": ("L", "RGB", "CMYK"), ".gif": ("L", "P", "RGB"), ".ppm": ("1", "L", "RGB"), ".bmp": ("1", "L", "P", "RGB")}
_MODES |= {".dib": ("RGB",), ".qoi": ("RGB", "RGBA"), ".ico": ("L", "RGB", "RGBA"), ".pcx": ("1", "L", "P", "RGB")}


def _plain(rng: random.Random, suffix: str) -> bytes:
    if suffix == ".tif" and rng.random() < 0.6:
        return _tiff(rng)
    if suffix == ".psd":
        return _psd(rng)
    mode = rng.choice(_MODES.get(suffix, ("L", "RGB", "RGBA")))
    image = Image.fromarray(_array(rng)).convert(mode)
    options: dict[str, object] = {"bitmap_format": rng.choice(["png", "bmp"])} if suffix == ".ico" else {}
    if suffix in (".jpg", ".png", ".webp", ".tif", ".avif") and rng.random() < 0.5:
        exif = Image.Exif()
        exif[0x0112] = rng.randint(0, 12)
        options["exif"] = exif.tobytes()
    if suffix in (".jpg", ".png", ".webp", ".tif") and rng.random() < 0.5:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile(rng.choice(["sRGB", "LAB", "XYZ"]))).tobytes()
        options["icc_profile"] = _flipped(rng, profile) if rng.random() < 0.5 else profile
    return _saved(image, _KINDS[suffix], **options)


def _tiff(rng: random.Random) -> bytes:
    buffer, channels = BytesIO(), rng.choice([1, 1, 2, 3, 3, 4, 5, 9])
    dtype = rng.choice(["u1", "u2", "f4", "f2", "f8", "i1", "i2", "u4", "i4", "u8"])
    array = _array(rng, channels, dtype)
    options: dict[str, object] = {"photometric": rng.choice(["minisblack", "miniswhite"])}
    if channels > 1:
        options = {"photometric": "rgb" if channels >= 3 else "minisblack", "planarconfig": "contig"}
        if channels >= 3 and rng.random() < 0.3:
            options["planarconfig"] = "separate"
            array = array.transpose(2, 0, 1)
    if rng.random() < 0.1 and array.ndim == 2:
        array, options["volumetric"] = np.stack([array] * rng.randint(1, 4)), True
    if channels == 4 and rng.random() < 0.4 and array.shape[-1] == 4:
        options["photometric"] = "separated"
    if rng.random() < 0.4:
        options["compression"] = rng.choice(["zlib", "lzw", "packbits", "zstd"])
    if rng.random() < 0.3 and array.ndim == 2:
        options["tile"] = (16, 16)
    if rng.random() < 0.3:
        options["extratags"] = [(rng.choice([274, 34675, 700, 338]), "H", 1, rng.randint(0, 70), True)]
    with tifffile.TiffWriter(buffer) as writer:
        for _ in range(rng.choice([1, 1, 1, 2, 5])):
            writer.write(np.ascontiguousarray(array), metadata=None, **options)
    return buffer.getvalue()


def _psd(rng: random.Random) -> bytes:
    """A PSD of a flat picture, without layers, of any mode, depth and number of channels."""
    channels, depth, width, height = rng.choice([1, 3, 3, 4, 5]), rng.choice([1, 8, 8, 8, 16, 32]), rng.randint(1, 30), rng.randint(1, 30)
    mode = rng.choice([{1: 1, 3: 3, 4: 4}.get(channels, 3), rng.randrange(10)])
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, channels, height, width, depth, mode)
    return header + bytes(12) + struct.pack(">H", 0) + rng.randbytes(channels * height * ((width * depth + 7) // 8))


def _packed(rng: random.Random) -> bytes:
    """A TIFF of grey samples of any number of bits, the directory's other numbers true."""
    width, height, bits = rng.randint(1, 20), rng.randint(1, 20), rng.randint(1, 40)
    data = rng.randbytes((width * bits + 7) // 8 * height)
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: rng.choice([0, 1, 1, 2, 5, 6, 8, 32803]), 273: 0, 277: 1, 278: height}
    tags |= {279: len(data), 339: rng.choice([1, 1, 2, 3])}
    tags |= {32997: rng.choice([1, 2, 2**31])} if rng.random() < 0.2 else {}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    return b"II*\0" + struct.pack("<I", 8) + _directory(list(tags.items()), 0) + data


def _bit_fields(rng: random.Random) -> bytes:
    """A BMP whose colours lie in fields of any place and width."""
    width, height, depth = rng.randint(1, 20), rng.randint(1, 20), rng.choice([16, 32])
    size = rng.choice([40, 52, 56, 108, 124])
    cuts = sorted(rng.sample(range(depth + 1), 4))
    masks = [(2**b - 2**a) if rng.random() < 0.95 else rng.randrange(2**32) for a, b in pairwise(cuts)]
    fields = b"".join(struct.pack("<I", m) for m in rng.sample(masks, 3)).ljust(max(12, size - 40), b"\0")
    header = struct.pack("<IiiHHIIiiII", size, width, rng.choice([height, -height]), 1, depth, rng.choice([3, 3, 6]), 0, 0, 0, 0, 0)
    header += fields
    start = 14 + len(header)
    data = rng.randbytes((width * depth + 31) // 32 * 4 * height)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + header + data


def _flipped(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 2, 8, 40])):
        if changed:
            changed[rng.randrange(len(changed))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
    return bytes(changed)


def _header_lies(rng: random.Random, data: bytes) -> bytes:
    """Numbers of two or four bytes near the beginning, where formats keep sizes and counts."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at, size = rng.randrange(max(1, min(len(changed), 200) - 4)), rng.choice([2, 4])
        value = rng.choice([0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 50_000]) % 2 ** (8 * size)
        changed[at : at + size] = value.to_bytes(size, rng.choice(["big", "little"]))
    return bytes(changed)


def _truncated(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _spliced(rng: random.Random, data: bytes) -> bytes:
    other = _plain(rng, rng.choice(list(_KINDS)))
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _repeated(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.randint(1, 64))
    return data[:end] + data[start:end] * rng.randint(1, 50) + data[end:]


MUTATIONS: tuple[Callable[[random.Random, bytes], bytes], ...] = (_flipped, _header_lies, _truncated, _spliced, _repeated)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_chunks(rng: random.Random) -> Case:
    """A sound PNG with unsound things beside its pixels, checksums right."""
    data = _saved(Image.fromarray(_array(rng)), "PNG")
    extra = b""
    for _ in range(rng.randint(1, 4)):
        kind = rng.choice([b"eXIf", b"iCCP", b"gAMA", b"cHRM", b"cICP", b"sRGB", b"tRNS", b"zTXt", b"iTXt", b"acTL", b"PLTE", b"sBIT"])
        body = rng.choice([b"", rng.randbytes(rng.randint(1, 40)), b"a\0\0" + zlib.compress(bytes(rng.choice([10, 2_000_000])))])
        extra += chunk(kind, body)
    return ".png", data[:33] + extra + data[33:]


def _bomb(rng: random.Random) -> Case:
    """Few bytes that claim many pixels, samples or pages."""
    side = rng.choice([20_000, 40_000, 65_535, 2**31 - 1])
    kind = rng.choice(["png", "tiff", "gif", "bmp", "ppm", "tga", "ico", "psd", "samples", "pages", "tile"])
    if kind == "png":
        header = struct.pack(">IIBBBBB", side, side, rng.choice([8, 16]), rng.choice([0, 2, 4, 6]), 0, 0, 0)
        return ".png", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    if kind == "gif":
        side = min(side, 65_535)
        return ".gif", b"GIF89a" + struct.pack("<HH", side, side) + b"\xf0\0\0\0\0\0\xff\xff\xff," + struct.pack(
            "<HHHHB", 0, 0, side, side, 0
        ) + b"\2\2\x44\1\0;"
    if kind == "ico":  # a byte says each side, the picture in it another
        inner = struct.pack("<IiiHHIIiiII", 40, side, min(side, 2**30) * 2 - 2**31 * (side > 2**30), 1, 32, 0, 0, 0, 0, 0, 0)
        return ".ico", struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inner), 22) + inner
    if kind == "psd":
        return ".psd", b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, side, side, 8, 3) + bytes(14)
    if kind in ("bmp", "tga", "ppm"):
        data = {
            "bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 60, 0, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0),
            "tga": b"\0\0\2" + bytes(9) + struct.pack("<HHBB", min(side, 65_535), min(side, 65_535), 32, 0),
            "ppm": f"P6 {side} {side} 255\n".encode(),
        }[kind]
        return f".{kind}", data + bytes(100)
    tags = [(256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 200), (277, 1), (278, side), (279, 10)]
    if kind == "samples":
        tags = [(t, {256: 10_000, 257: 10_000, 277: rng.choice([64, 5000, 65_535])}.get(t, v)) for t, v in tags]
    if kind == "tile":
        tags = [t for t in tags if t[0] not in (273, 278, 279)] + [(322, side), (323, side), (324, 200), (325, 10)]
        tags = [(t, 4 if t in (256, 257) else v) for t, v in tags]
    if kind == "pages":  # a chain of directories that never ends
        return ".tif", b"II*\0" + struct.pack("<I", 8) + _directory([(t, 4 if t in (256, 257) else v) for t, v in tags], 8)
    return ".tif", b"II*\0" + struct.pack("<I", 8) + _directory(tags, 0) + bytes(200)


def _directory(tags: list[tuple[int, int]], following: int) -> bytes:
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    return struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)


def _not_a_picture(rng: random.Random) -> Case:
    suffix = rng.choice(list(_KINDS))
    return suffix, rng.choice(
        [b"", b"\0" * 100, rng.randbytes(rng.randint(1, 500)), b"%!PS-Adobe-3.0 EPSF\n%%BoundingBox: 0 0 9 9\nshowpage\n"]
    )


def picture(seed: int) -> Case:
    """A hostile picture, or now and then a sound one of an odd kind."""
    rng = random.Random(seed)
    suffix = rng.choice(list(_KINDS))
    special = rng.random()
    if special < 0.1:
        return _png_chunks(rng)
    if special < 0.2:
        return _bomb(rng)
    if special < 0.25:
        return _not_a_picture(rng)
    if special < 0.3:
        suffix, make = rng.choice([(".tif", _packed), (".bmp", _bit_fields)])
        data = make(rng)
    else:
        data = _plain(rng, suffix)
    if special > 0.4 or rng.random() < 0.2:
        data = rng.choice(MUTATIONS)(rng, data)
    return rng.choice([suffix, suffix, suffix, ".png"]), data
