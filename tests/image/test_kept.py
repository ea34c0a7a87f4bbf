"""What lies beside the pixels survives, or stands in the list of what does not (docs/fidelity.md)."""

from __future__ import annotations

import re
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from raiha_core.image import read_image, write_image

DOCS = (Path(__file__).parents[2] / "docs" / "fidelity.md").read_text()
NOT_KEPT = re.sub(r"\s+", " ", DOCS.split("<!-- not kept -->")[1].split("<!-- /not kept -->")[0])
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# Kind of metadata -> its word in the list of what is not kept, None for what is.
CHUNKS = {
    b"cICP": (bytes([1, 13, 0, 1]), None), b"sRGB": (b"\0", None), b"gAMA": (struct.pack(">I", 45455), None),
    b"cHRM": (struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000), None), b"mDCV": (bytes(24), None),
    b"cLLI": (bytes(8), None), b"tEXt": (b"prompt\0{}", None), b"zTXt": (b"workflow\0\0" + zlib.compress(b"{}"), None),
    b"iTXt": (b"XML:com.adobe.xmp\0\0\0\0\0" + XMP, None), b"iCCP": (b"p\0\0" + zlib.compress(SRGB), None),
    b"pHYs": (struct.pack(">IIB", 5000, 5000, 1), "pHYs"), b"sBIT": (b"\5\5\5", "sBIT"), b"bKGD": (bytes(6), "bKGD"),
    b"tIME": (struct.pack(">HBBBBB", 2026, 1, 1, 1, 1, 1), "tIME"), b"sPLT": (b"p\0\x08", "sPLT"), b"oFFs": (bytes(9), "oFFs"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CHUNKS)
def test_chunks_of_a_png(tmp_path, samples, kind):
    body, word = CHUNKS[kind]
    buffer = BytesIO()
    Image.fromarray(samples(6, 8, 3, np.uint8)).save(buffer, "PNG")
    data = buffer.getvalue()
    (tmp_path / "a.png").write_bytes(data[:33] + chunk(kind, body) + data[33:])
    again = write_image(tmp_path / "b.png", read_image(tmp_path / "a.png")).read_bytes()
    assert (chunk(kind, body) in again) == (word is None)
    assert word is None or word in NOT_KEPT
    assert word is not None or kind.decode() in DOCS or kind in (b"tEXt", b"zTXt", b"iTXt")


def segments(data):
    """Marker and beginning of each segment of a JPEG."""
    at, found = 2, []
    while data[at + 1] != 0xDA:
        length = struct.unpack_from(">H", data, at + 2)[0]
        found.append((data[at + 1], data[at + 4 : at + 4 + 12]))
        at += 2 + length
    return found


SEGMENTS = {
    "XMP of pictures": (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP.replace(b"/>", b" hdrgm:Version='1.0'/>")),
    "IPTC": (0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\0"),
    "comments": (0xFE, b"a comment"),
    "gain maps": (0xE2, b"MPF\0II*\0\x08\0\0\0\0\0"),
}


@pytest.mark.parametrize("word", SEGMENTS)
def test_segments_of_a_jpeg(tmp_path, samples, word):
    marker, body = SEGMENTS[word]
    buffer = BytesIO()
    Image.fromarray(samples(6, 8, 3, np.uint8)).save(buffer, "JPEG", icc_profile=SRGB, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
    data = buffer.getvalue()
    (tmp_path / "a.jpg").write_bytes(data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + data[2:])
    again = segments(write_image(tmp_path / "b.jpg", read_image(tmp_path / "a.jpg")).read_bytes())
    assert not any(m == marker and start == body[:12] for m, start in again) and word in NOT_KEPT
    assert any(m == 0xE2 and start == b"ICC_PROFILE\0" for m, start in again)


def test_a_photo_with_a_gain_map_behind_it_says_so(tmp_path, samples):
    first, second = (Image.fromarray(samples(16, 16, 3, np.uint8, seed)) for seed in (0, 1))
    first.save(tmp_path / "x.mpo", "MPO", save_all=True, append_images=[second])
    (tmp_path / "x.mpo").rename(tmp_path / "x.jpg")
    assert "gain map" in read_image(tmp_path / "x.jpg").notices[0]


TAGS = {
    "GeoTIFF": (33550, "d", 3, (1.0, 1.0, 0.0)),
    "TransferFunction": (301, "H", 256, tuple(range(256))),
    "WhitePoint": (318, "2I", 2, (3127, 10000, 3290, 10000)),
    "IPTC": (33723, "B", 8, b"\x1c\2\0\0\2\0\0\0"),
}


@pytest.mark.parametrize("word", TAGS)
def test_tags_of_a_tiff(tmp_path, samples, word):
    tifffile.imwrite(tmp_path / "a.tif", samples(6, 8, 3, np.uint8), photometric="rgb", extratags=[(*TAGS[word], True)])
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert TAGS[word][0] in tiff.pages[0].tags
    with tifffile.TiffFile(write_image(tmp_path / "b.tif", read_image(tmp_path / "a.tif"))) as tiff:
        assert TAGS[word][0] not in tiff.pages[0].tags
    assert word in NOT_KEPT


def test_parts_of_a_webp(tmp_path, samples):
    exif = Image.Exif()
    exif[271] = "Tortoise"
    Image.fromarray(samples(6, 8, 3, np.uint8)).save(tmp_path / "a.webp", lossless=True, icc_profile=SRGB, exif=exif.tobytes(), xmp=XMP)
    with Image.open(write_image(tmp_path / "b.webp", read_image(tmp_path / "a.webp"))) as image:
        assert image.info["icc_profile"] == SRGB and image.getexif()[271] == "Tortoise" and image.info["xmp"] == XMP


def test_text_survives_as_other_programs_read_it(tmp_path, samples):
    said = PngImagePlugin.PngInfo()
    said.add_text("workflow", '{"nodes": []}')
    Image.fromarray(samples(6, 8, 3, np.uint8)).save(tmp_path / "a.png", pnginfo=said)
    with Image.open(write_image(tmp_path / "b.png", read_image(tmp_path / "a.png"))) as image:
        assert image.info["workflow"] == '{"nodes": []}'


TURNED = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:rights="mine"/></x:xmpmeta>'


def with_xmp(path, array, xmp, orientation=1):
    """A file with an XMP packet and an orientation in EXIF, in any of the four formats."""
    exif = Image.Exif()
    exif[274] = orientation
    options = {"exif": exif.tobytes(), "xmp": xmp}
    if path.suffix == ".tif":
        options = {"tiffinfo": {274: orientation, 700: xmp}}
    elif path.suffix == ".png":
        said = PngImagePlugin.PngInfo()
        said.add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=True)
        options = {"exif": exif.tobytes(), "pnginfo": said}
    Image.fromarray(array).save(path, **options)
    return path


def xmp_in(path):
    """The packet as other programs read it."""
    with Image.open(path) as image:
        found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
        return found.encode() if isinstance(found, str) else found


@pytest.mark.parametrize("source", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("target", [".jpg", ".png", ".tif", ".webp"])
def test_xmp_goes_from_every_format_to_every_format(tmp_path, samples, source, target):
    array = samples(6, 8, 3, np.uint8)
    plain = read_image(with_xmp(tmp_path / f"a{source}", array, TURNED))
    assert plain.size == (6, 8) and xmp_in(write_image(tmp_path / f"b{target}", plain)) == TURNED
    turned = read_image(with_xmp(tmp_path / f"c{source}", array, TURNED, orientation=6))
    assert turned.size == (8, 6) and xmp_in(write_image(tmp_path / f"d{target}", turned)) == TURNED.replace(b'"6"', b'"1"')


def test_xmp_that_a_jpeg_cannot_hold_costs_no_picture(tmp_path, samples):
    long = TURNED.replace(b"mine", b"x" * 70_000)
    picture = read_image(with_xmp(tmp_path / "a.png", samples(6, 8, 3, np.uint8), long))
    assert picture.xmp == long
    assert xmp_in(write_image(tmp_path / "b.jpg", picture)) is None and xmp_in(write_image(tmp_path / "b.webp", picture)) == long
