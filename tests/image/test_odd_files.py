"""Files that the rest of the world reads in one way: orientation, pages, palettes, what is said beside the pixels, and memory."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms
from PIL import __version__ as pillow_version

from raiha_core.errors import RaihaError
from raiha_core.image import Picture, from_array, read_image, read_mask, write_image
from raiha_core.image.files import turned
from raiha_core.image.spaces import make_profile

SRGB = ((0.3127, 0.3290), (0.64, 0.33, 0.30, 0.60, 0.15, 0.06))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(array, *extra, **options):
    buffer = BytesIO()
    Image.fromarray(array).save(buffer, "PNG", **options)
    data = buffer.getvalue()
    return data[:33] + b"".join(extra) + data[33:]


def in_mode(array, mode):
    if mode == "LAB":
        return ImageCms.profileToProfile(
            Image.fromarray(array), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    if mode == "I;16":
        return Image.fromarray(array[..., 0].astype(np.uint16) * 257)
    return Image.fromarray(array).quantize(32) if mode == "P" else Image.fromarray(array).convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LAB", "YCbCr", "I;16", "F"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_tiffs_are_turned_once_in_every_mode(tmp_path, samples, mode, compression):
    if mode == "YCbCr" and compression is None and int(pillow_version.split(".")[0]) < 13:
        pytest.skip("Pillow before 13 calls uncompressed TIFFs of this kind truncated, also its own")
    image = in_mode(samples(6, 10, 3, np.uint8), mode)
    for orientation in range(1, 9):
        image.save(tmp_path / f"{orientation}.tif", compression=compression, tiffinfo={274: orientation})
    upright = read_image(tmp_path / "1.tif")
    for orientation in range(2, 9):
        picture = read_image(tmp_path / f"{orientation}.tif")
        assert picture.orientation == orientation
        assert np.array_equal(picture.rgb, turned(upright.rgb, orientation)), orientation
        assert np.array_equal(read_mask(tmp_path / f"{orientation}.tif"), turned(read_mask(tmp_path / "1.tif"), orientation))


def test_an_orientation_in_xmp_alone_turns_nothing(tmp_path, samples):
    array = samples(6, 10, 3, np.uint8)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    (tmp_path / "x.png").write_bytes(png_with(array, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)))
    Image.fromarray(array).save(tmp_path / "x.webp", xmp=xmp, lossless=True)
    in_mode(array, "CMYK").save(tmp_path / "x.tif", tiffinfo={700: xmp})
    for name in ("x.png", "x.webp", "x.tif"):
        assert read_image(tmp_path / name).size == (6, 10)


def test_damaged_or_large_metadata_costs_no_pixel(tmp_path, samples):
    array = samples(6, 10, 3, np.uint8)
    text = b"Comment\0\0" + zlib.compress(b"x" * 3_000_000)
    (tmp_path / "exif.png").write_bytes(png_with(array, chunk(b"eXIf", b"rubbish that is no EXIF")))
    (tmp_path / "text.png").write_bytes(png_with(array, chunk(b"zTXt", text)))
    (tmp_path / "crc.png").write_bytes(png_with(array, chunk(b"tEXt", b"a\0b")[:-4] + b"oops"))
    (tmp_path / "icc.png").write_bytes(png_with(array, chunk(b"iCCP", b"x\0\0not deflate")))
    (tmp_path / "order.png").write_bytes(png_with(array, chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"), chunk(b"gAMA", b"\0")))
    Image.fromarray(array).save(tmp_path / "exif.webp", lossless=True, exif=b"Exif\0\0MM\0*\xff\xff\xff\xffrubbish")
    for path in sorted(tmp_path.iterdir()):
        picture = read_image(path)
        assert np.array_equal(picture.rgb, array), path.name
        assert picture.exif is None and picture.icc is None
        assert not path.name.startswith(("exif", "icc")) or "left out" in str(picture.notices) or "read as sRGB" in str(picture.notices)


def test_what_a_png_says_of_its_colours_is_kept(tmp_path, samples):
    array = samples(6, 10, 3, np.uint8)
    gamma, primaries = (
        chunk(b"gAMA", struct.pack(">I", 100_000)),
        chunk(b"cHRM", struct.pack(">8I", *(int(v * 1e5) for v in (*SRGB[0], *SRGB[1])))),
    )
    kept = [gamma, primaries, chunk(b"cICP", bytes([12, 13, 0, 1])), chunk(b"tEXt", b"workflow\0{}")]
    for name, pieces in {"gamma": [gamma], "both": [gamma, primaries], "p3": [kept[2]], "text": [kept[3]]}.items():
        (tmp_path / f"{name}.png").write_bytes(png_with(array, *pieces))
        picture = read_image(tmp_path / f"{name}.png")
        assert (picture.space is None) == (name == "text")
        again = write_image(tmp_path / "again.png", picture).read_bytes()
        assert all(again.count(piece) == 1 for piece in pieces) and again.count(b"iCCP") == 0
        # Elsewhere a profile says the same.
        other = read_image(write_image(tmp_path / "x.tif", picture))
        assert (other.space is None) == (name == "text") and np.array_equal(other.rgb, array)


def test_the_gamma_of_ordinary_pngs_is_srgb(tmp_path, samples):
    (tmp_path / "x.png").write_bytes(png_with(samples(6, 10, 3, np.uint8), chunk(b"gAMA", struct.pack(">I", 45_455))))
    assert read_image(tmp_path / "x.png").space is None


def test_a_cicp_of_hdr_is_said_and_kept(tmp_path, samples):
    piece = chunk(b"cICP", bytes([9, 16, 0, 1]))
    (tmp_path / "x.png").write_bytes(png_with(samples(6, 10, 3, np.uint8), piece))
    picture = read_image(tmp_path / "x.png")
    assert picture.space is None and "HDR" in picture.notices[0]
    assert piece in write_image(tmp_path / "y.png", picture).read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_a_profile_of_other_colours_is_neither_used_nor_passed_on(tmp_path, samples, suffix):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.fromarray(samples(6, 10, 3, np.uint8)).save(tmp_path / f"x{suffix}", icc_profile=lab)
    picture = read_image(tmp_path / f"x{suffix}")
    assert picture.icc is None and picture.space is None and "profile" in picture.notices[0]
    assert lab not in write_image(tmp_path / "y.png", picture).read_bytes()
    assert not any(kind == b"iCCP" for kind, _ in picture.chunks)


@pytest.mark.parametrize("white", [255.0, 65535.0])
def test_floats_that_count_to_255_are_read_by_their_numbers(tmp_path, samples, white):
    array = (samples(20, 30, 3, np.uint8) * (white / 255)).astype(np.float32)
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb")
    picture = read_image(tmp_path / "x.tif")
    assert picture.scale == white and f"{white:.0f} was taken for white" in picture.notices[0]
    assert np.array_equal(picture.rgb, array)
    assert np.array_equal(np.asarray(picture.pil()), np.rint(array / white * 255))
    assert float(picture.rgb_tensor().max()) <= 1


def test_highlights_of_hdr_are_no_other_white(samples):
    array = samples(40, 50, 3, np.float32)
    array[:4] = 5000
    picture = from_array(array)
    assert picture.scale == 1 and not picture.notices
    with pytest.raises(RaihaError, match="white is 1"):
        from_array(array * 1e8)


@pytest.mark.parametrize("name", ["x.gif", "x.webp", "x.png", "x.tif"])
def test_the_first_page_is_read_and_said_and_another_can_be_chosen(tmp_path, name):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if name == "x.webp" else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    first, second = read_image(tmp_path / name), read_image(tmp_path / name, 2)
    assert (first.rgb == (255, 0, 0)).all() and "holds 3 frames or pages" in first.notices[0]
    assert (second.rgb == (0, 0, 255)).all() and not second.notices
    with pytest.raises(RaihaError, match="no page 4; it holds 3"):
        read_image(tmp_path / name, 4)
    with pytest.raises(RaihaError, match="count from 1"):
        read_image(tmp_path / name, 0)
    assert read_mask(tmp_path / name).shape == (6, 8)


def test_a_palette_of_eight_bit_values(tmp_path):
    index = np.arange(30, dtype=np.uint8).reshape(5, 6)
    colours = np.stack([np.arange(256), 255 - np.arange(256), np.full(256, 77)]).astype(np.uint16)
    for name, table in (("eight", colours), ("sixteen", colours * 257)):
        tifffile.imwrite(tmp_path / f"{name}.tif", index, photometric="palette", colormap=table)
        assert np.array_equal(read_image(tmp_path / f"{name}.tif").rgb, colours.T[index].astype(np.uint8))


def test_an_icc_tag_that_is_a_number(tmp_path, samples):
    array = samples(4, 5, 3, np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb", extratags=[(34675, "I", 1, 7, True)])
    assert np.array_equal(read_image(tmp_path / "x.tif").rgb, array) and read_image(tmp_path / "x.tif").icc is None


def claimed(array, tmp_path, **tags):
    """A TIFF whose directory says other numbers than are true."""
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb")
    data = bytearray((tmp_path / "x.tif").read_bytes())
    for tag, value in {{"width": 256, "height": 257, "samples": 277}[k]: v for k, v in tags.items()}.items():
        at = next(i for i in range(len(data) - 12) if data[i : i + 2] == struct.pack("<H", tag) and data[i + 4 : i + 8] == b"\1\0\0\0")
        data[at + 8 : at + 12] = struct.pack("<I", value)
    (tmp_path / "x.tif").write_bytes(data)
    return tmp_path / "x.tif"


def test_memory_is_counted_before_anything_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setenv("RAIHA_MEMORY_GB", "1")
    path = claimed(np.zeros((2, 2, 3), np.uint8), tmp_path, width=10_000, height=10_000, samples=64)
    with pytest.raises(RaihaError, match=r"would need about [\d.]+ GB of memory, and 1\.0 GB.*RAIHA_MEMORY_GB"):
        read_image(path)
    Image.new("L", (9000, 9000)).save(tmp_path / "x.webp", lossless=True)
    with pytest.raises(RaihaError, match="GB of memory"):
        read_image(tmp_path / "x.webp")
    inner = BytesIO()
    Image.new("1", (9000, 9000)).save(inner, "PNG")
    for data in (inner.getvalue(), struct.pack("<IiiHH", 40, 9000, 18000, 1, 32) + bytes(30)):
        (tmp_path / "x.ico").write_bytes(struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(data), 22) + data)
        with monkeypatch.context() as patched, pytest.raises(RaihaError, match="GB of memory"):
            patched.setattr(Image, "open", None)  # which decodes an icon at once
            read_image(tmp_path / "x.ico")
    monkeypatch.setenv("RAIHA_MEMORY_GB", "none")
    with pytest.raises(RaihaError, match="RAIHA_MEMORY_GB is 'none'"):
        read_image(tmp_path / "x.webp")


def test_a_png_with_metadata_and_the_same_without_are_the_same_photo(tmp_path, samples):
    profile = make_profile(1.8, *SRGB)
    array = samples(20, 30, 3, np.uint8)
    opaque = np.dstack([array, np.full((20, 30), 255, np.uint8)])
    for name, pixels in (("rgb", array), ("rgba", opaque)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png", icc_profile=profile)
        Image.fromarray(pixels).save(tmp_path / f"{name}.tif", icc_profile=profile)
    pictures = [read_image(tmp_path / f"{name}.{suffix}") for name in ("rgb", "rgba") for suffix in ("png", "tif")]
    assert all(np.array_equal(p.rgb, array) and p.icc == profile for p in pictures)
    assert isinstance(pictures[0], Picture)


def test_a_tiff_of_endless_pages_is_looked_through_to_an_end(tmp_path, samples):
    """Thousands of reduced copies keep a reader busy for half a minute, and a chain that leads back to itself for ever."""
    array = samples(4, 5, 3, np.uint8)
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(array, photometric="rgb")
        for _ in range(1200):
            writer.write(array[:1, :1], photometric="rgb", subfiletype=1, metadata=None)
    assert np.array_equal(read_image(tmp_path / "x.tif").rgb, array)
    data = bytearray((tmp_path / "x.tif").read_bytes())
    first = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, first)[0]
    struct.pack_into("<I", data, first + 2 + 12 * count, first)
    (tmp_path / "x.tif").write_bytes(data)
    assert np.array_equal(read_image(tmp_path / "x.tif").rgb, array)


@pytest.mark.parametrize("wrong", [None, 5, b"x.png", [], np.zeros(2)], ids=str)
def test_a_path_or_page_that_is_none_is_one_sentence(tmp_path, samples, wrong):
    for call in (read_image, read_mask, lambda path: write_image(path, from_array(samples(2, 2, 3, np.uint8)))):
        with pytest.raises(RaihaError, match="The path is a"):
            call(wrong)
    Image.new("L", (2, 2)).save(tmp_path / "x.png")
    for page in ("1", 1.5, [1], 0, torch.empty((), device="meta")):
        with pytest.raises(RaihaError, match="There is no page"):
            read_image(tmp_path / "x.png", page)
