"""Pictures come back from files as they went in."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import replace
from functools import partial
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from raiha_core.errors import RaihaError
from raiha_core.image import Picture, atomically, check_output, from_array, from_pil, read_image, write_image
from raiha_core.image.spaces import make_profile

HOLDS = {".png": (np.uint8, np.uint16), ".tif": (np.uint8, np.uint16, np.float32), ".webp": (np.uint8,)}


@pytest.mark.parametrize(("suffix", "dtype"), [(s, d) for s, depths in HOLDS.items() for d in depths])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_sample_survives(tmp_path, samples, suffix, dtype, channels):
    array = samples(13, 17, channels, dtype)
    path = write_image(tmp_path / f"x{suffix}", from_array(array))
    back = read_image(path)
    assert back.rgb.dtype == dtype
    # WebP knows no grey.
    grey = channels < 3 and suffix != ".webp"
    assert back.grey == grey
    assert np.array_equal(
        back.native().squeeze(), array if grey or channels > 2 else Picture(from_array(array).rgb, from_array(array).alpha).native()
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([3, 4]), st.sampled_from(["u1", "u2", "f4"]), st.integers(0, 99))
def test_every_size_survives(tmp_path, samples, height, width, channels, dtype, seed):
    array = samples(height, width, channels, np.dtype(dtype), seed)
    for suffix in (".tif", *([".png"] if dtype != "f4" else [])):
        back = read_image(write_image(tmp_path / f"x{suffix}", from_array(array)))
        assert np.array_equal(back.native(), array)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_metadata_survives(tmp_path, samples, icc, exif_of, read_exif, suffix, dtype):
    picture = Picture(samples(9, 11, 3, dtype), icc=icc, exif=exif_of())
    path = write_image(tmp_path / f"x{suffix}", picture)
    assert read_exif(path) == {
        "make": "Tortoise",
        "seconds": 1 / 125,
        "iso": 400,
        "version": b"0232",
        "latitude": (60.0, 10.0, 15.5),
        "orientation": 1,
    }
    back = read_image(path)
    assert back.icc == icc
    again = write_image(tmp_path / f"y{suffix}", back)
    assert read_exif(again) == read_exif(path)


@pytest.mark.parametrize("source", [".png", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize("target", [".png", ".tif", ".jpg", ".webp"])
def test_metadata_crosses_formats(tmp_path, samples, icc, exif_of, read_exif, source, target):
    first = write_image(tmp_path / f"a{source}", Picture(samples(9, 11, 3, np.uint8), icc=icc, exif=exif_of()))
    second = write_image(tmp_path / f"b{target}", read_image(first))
    assert read_exif(second) == read_exif(first)
    assert read_image(second).icc == icc


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_orientation_is_applied_and_reset(tmp_path, samples, exif_of, read_exif, orientation, suffix):
    path = tmp_path / f"x{suffix}"
    Image.fromarray(samples(10, 16, 3, np.uint8)).save(path, exif=exif_of(orientation))
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    picture = read_image(path)
    assert np.array_equal(picture.rgb, expected)
    assert read_exif(write_image(tmp_path / "y.png", picture))["orientation"] == 1


def test_big_endian_exif_keeps_every_byte_but_the_orientation(tmp_path, samples):
    # Orientation 6, then a maker note, as Nikon and Apple write them.
    entries = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack(">HHII", 0x927C, 7, 12, 38)
    block = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 2) + entries + struct.pack(">I", 0) + b"maker's note"
    buffer = BytesIO()
    Image.fromarray(samples(8, 12, 3, np.uint8)).save(buffer, "JPEG", exif=block)
    (tmp_path / "x.jpg").write_bytes(buffer.getvalue())
    picture = read_image(tmp_path / "x.jpg")
    assert picture.size == (12, 8)
    assert picture.exif == block.replace(struct.pack(">HHIH", 0x0112, 3, 1, 6), struct.pack(">HHIH", 0x0112, 3, 1, 1))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F"])
def test_modes_of_pillow(samples, mode):
    base = Image.fromarray(samples(6, 7, 3, np.uint8))
    image = (
        Image.fromarray(samples(6, 7, 1, np.uint16)) if mode == "I;16" else base.convert("RGBA" if mode == "PA" else "RGB").convert(mode)
    )
    picture = from_pil(image.copy())
    assert picture.size == (6, 7)
    assert (picture.alpha is not None) == (mode in ("LA", "PA", "RGBA"))
    if mode in ("RGB", "RGBA", "L", "LA", "I;16", "F"):
        assert np.array_equal(picture.native().squeeze(), np.asarray(image))


def test_palettes_and_colour_keys_give_alpha(tmp_path, samples):
    image = Image.fromarray(samples(6, 7, 3, np.uint8)).quantize(8)
    image.save(tmp_path / "p.png", transparency=0)
    picture = read_image(tmp_path / "p.png")
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha == 0, np.asarray(image) == 0)


def test_cmyk_and_lab_become_srgb_and_drop_their_profile(tmp_path):
    lab = ImageCms.profileToProfile(
        Image.new("RGB", (4, 4), (200, 60, 90)), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    lab.save(tmp_path / "lab.tif")
    Image.new("CMYK", (4, 4), (0, 128, 255, 0)).save(tmp_path / "cmyk.jpg", quality=100)
    assert np.abs(read_image(tmp_path / "lab.tif").rgb.astype(int) - (200, 60, 90)).max() <= 3
    red, green, blue = read_image(tmp_path / "cmyk.jpg").rgb[0, 0]
    assert red > 250 and 110 < green < 145 and blue < 10


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float16])
def test_tiffs_of_others(tmp_path, samples, byteorder, planar, dtype):
    array = samples(12, 9, 3, dtype)
    stored = array if planar == "contig" else np.ascontiguousarray(array.transpose(2, 0, 1))
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="rgb", planarconfig=planar, byteorder=byteorder)
    picture = read_image(tmp_path / "x.tif")
    assert np.array_equal(picture.rgb, array)
    assert picture.rgb.dtype == (np.uint16 if dtype == np.uint16 else np.float32)


def test_white_is_zero_and_spot_colours(tmp_path, samples):
    grey, many = samples(6, 5, 1, np.uint16), samples(6, 5, 4, np.uint8)
    tifffile.imwrite(tmp_path / "w.tif", grey, photometric="miniswhite")
    tifffile.imwrite(
        tmp_path / "s.tif",
        np.dstack([many, many]),
        photometric="rgb",
        planarconfig="contig",
        extrasamples=["unassalpha", *["unspecified"] * 4],
    )
    assert np.array_equal(read_image(tmp_path / "w.tif").native()[..., 0], 65535 - grey)
    assert np.array_equal(read_image(tmp_path / "s.tif").native(), many)


def test_premultiplied_alpha_stays_in_tiff_and_is_divided_out_elsewhere(tmp_path):
    alpha = np.array([[65535, 32768, 0]], np.uint16)
    array = np.dstack([np.full((1, 3), 40000) * (alpha / 65535)] * 3 + [alpha]).round().astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_image(tmp_path / "x.tif")
    assert picture.premultiplied
    again = read_image(write_image(tmp_path / "y.tif", picture))
    assert again.premultiplied and np.array_equal(again.native(), array)
    straight = read_image(write_image(tmp_path / "y.png", picture))
    assert np.abs(straight.rgb[0, :2].astype(int) - 40000).max() <= 1


def test_a_photo_with_a_preview_behind_it_is_one_picture(tmp_path, samples):
    array = samples(16, 16, 3, np.uint16)
    with tifffile.TiffWriter(tmp_path / "x.tif") as tiff:
        tiff.write(array, photometric="rgb")
        tiff.write(array[::4, ::4], photometric="rgb", subfiletype=1)
    assert np.array_equal(read_image(tmp_path / "x.tif").rgb, array)
    first, second = (Image.fromarray(samples(16, 16, 3, np.uint8, seed)) for seed in (0, 1))
    first.save(tmp_path / "x.mpo", "MPO", save_all=True, append_images=[second])
    os.rename(tmp_path / "x.mpo", tmp_path / "x.jpg")
    assert read_image(tmp_path / "x.jpg").size == (16, 16)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_truncated_files_are_refused(tmp_path, samples, suffix, dtype):
    path = write_image(tmp_path / f"x{suffix}", from_array(samples(64, 64, 3, dtype)))
    data = path.read_bytes()
    for share in (0.0, 0.3, 0.7):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(RaihaError, match="cannot be read"):
            read_image(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(0, 400))
def test_rubbish_is_refused_with_one_sentence(tmp_path, jpeg_bytes, rubbish, at):
    (tmp_path / "x.jpg").write_bytes(jpeg_bytes[:at] + rubbish + jpeg_bytes[at + len(rubbish) : 900])
    with pytest.raises(RaihaError) as caught:
        read_image(tmp_path / "x.jpg")
    assert "\n" not in str(caught.value)


def test_what_is_no_picture_is_refused(tmp_path):
    for path, word in ((tmp_path / "none.png", "does not exist"), (tmp_path, "not a file")):
        with pytest.raises(RaihaError, match=word):
            read_image(path)
    (tmp_path / "x.png").write_text("hello")
    with pytest.raises(RaihaError, match="cannot be read as a picture"):
        read_image(tmp_path / "x.png")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(tmp_path, bad):
    array = np.zeros((4, 4, 3), np.float32)
    array[1, 2, 0] = bad
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb")
    with pytest.raises(RaihaError, match="NaN or infinite"):
        read_image(tmp_path / "x.tif")


def test_arrays_that_are_no_pictures_are_refused():
    for array in (np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 5), np.uint8), np.zeros((4, 4, 3), np.int32), np.zeros(4, np.uint8)):
        with pytest.raises(RaihaError):
            from_array(array)


def test_pillow_limit_is_lifted_only_while_reading(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.new("RGB", (30, 30)).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").size == (30, 30)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_pictures_that_claim_too_many_pixels_are_refused_unread(tmp_path):
    small = imagecodecs.png_encode(np.zeros((2, 2, 3), np.uint16))
    header = b"IHDR" + struct.pack(">II", 40_000, 40_000) + small[24:29]
    (tmp_path / "x.png").write_bytes(small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:])
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((2, 2, 3), np.float32), photometric="rgb")
    data = bytearray((tmp_path / "x.tif").read_bytes())
    for tag in (256, 257):
        at = data.index(struct.pack("<HH", tag, 4) + struct.pack("<I", 1))
        data[at + 8 : at + 12] = struct.pack("<I", 40_000)
    (tmp_path / "x.tif").write_bytes(data)
    for name in ("x.png", "x.tif"):
        with pytest.raises(RaihaError, match="more than 500 megapixels"):
            read_image(tmp_path / name)


def test_links_are_followed_both_ways(tmp_path, samples):
    real = write_image(tmp_path / "real.png", from_array(samples(4, 4, 3, np.uint8)))
    link = tmp_path / "link.png"
    link.symlink_to(real)
    array = samples(4, 4, 3, np.uint8, 5)
    write_image(link, from_array(array))
    assert link.is_symlink() and np.array_equal(read_image(real).rgb, array)


def test_depth_and_alpha_that_a_format_cannot_hold(tmp_path, samples):
    deep = samples(8, 8, 3, np.uint16)
    write_image(tmp_path / "x.webp", from_array(deep))
    assert np.array_equal(read_image(tmp_path / "x.webp").rgb, np.rint(deep / 257).astype(np.uint8))
    for name, array in (("x.jpg", samples(8, 8, 4, np.uint8)), ("x.png", samples(8, 8, 3, np.float32))):
        with pytest.raises(RaihaError, match="cannot hold"):
            write_image(tmp_path / name, from_array(array))
    with pytest.raises(RaihaError, match="16383"):
        write_image(tmp_path / "y.webp", from_array(np.zeros((1, 16384, 3), np.uint8)))
    assert [p.name for p in tmp_path.iterdir()] == ["x.webp"]


def test_jpeg_is_written_at_full_chroma_resolution(tmp_path):
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 0, 255)
    back = read_image(write_image(tmp_path / "x.jpg", from_array(stripes))).rgb.astype(int)
    assert np.abs(back - stripes).max() < 40


@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_of_many_pixels_is_the_file_that_pillow_writes(tmp_path, samples, exif_of, monkeypatch, channels):
    from raiha_core.image import write

    picture = replace(from_array(samples(37, 53, channels, np.uint8)), exif=exif_of(1), xmp=b"<x:xmpmeta/>")
    slow = write_image(tmp_path / "slow.jpg", picture).read_bytes()
    monkeypatch.setattr(write, "DIRECT", 1)
    monkeypatch.setattr(Image.Image, "save", saved := _Saved(Image.Image.save))
    assert write_image(tmp_path / "fast.jpg", picture).read_bytes() == slow
    assert saved.size == (1, 1), "Pillow encoded the picture"


class _Saved:
    """Pillow's `save`, which notes the size of what was saved."""

    def __init__(self, save):
        self.save, self.size = save, None

    def __get__(self, image, owner=None):
        self.size = image.size
        return partial(self.save, image)


@pytest.mark.parametrize("name", ["x.xyz", "x", "none/x.png", "folder.png"])
def test_outputs_that_cannot_be_written_are_refused_beforehand(tmp_path, name):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(RaihaError):
        check_output(tmp_path / name)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("EXIF data is too long"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "x.png"
    target.write_bytes(b"old")

    def fail(part):
        part.write_bytes(b"half")
        raise error

    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else RaihaError, match=None):
        atomically(target, fail)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_said_so(tmp_path):
    def write(part):
        with open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")

    with pytest.raises(RaihaError, match="disk is full"):
        atomically(tmp_path / "x.png", write)
    assert not list(tmp_path.iterdir())


def test_oversized_exif_is_an_error_not_a_crash(tmp_path, samples):
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 0) + bytes(70_000)
    with pytest.raises(RaihaError):
        write_image(tmp_path / "x.jpg", Picture(samples(4, 4, 3, np.uint8), exif=block))
    assert not list(tmp_path.iterdir())


def test_grey_profiles_stay_with_grey(tmp_path, samples):
    profile = make_profile(2.2, (0.3127, 0.3290), (), grey=True)
    for suffix in (".png", ".tif"):
        path = write_image(tmp_path / f"x{suffix}", from_array(samples(4, 4, 1, np.uint16)))
        grey = read_image(path)
        assert grey.grey and grey.native().shape == (4, 4, 1)
    Image.fromarray(samples(4, 4, 1, np.uint8)).save(tmp_path / "g.png", icc_profile=profile)
    assert read_image(tmp_path / "g.png").icc == profile
    Image.fromarray(samples(4, 4, 3, np.uint8)).save(tmp_path / "c.png", icc_profile=profile)
    assert read_image(tmp_path / "c.png").icc is None


def test_colour_keys_of_deep_pngs_give_alpha(tmp_path, samples):
    array = samples(5, 5, 3, np.uint16)
    png = imagecodecs.png_encode(array)
    data = b"tRNS" + struct.pack(">3H", *array[0, 0].tolist())
    (tmp_path / "x.png").write_bytes(png[:33] + struct.pack(">I", 6) + data + struct.pack(">I", zlib.crc32(data)) + png[33:])
    picture = read_image(tmp_path / "x.png")
    assert picture.alpha is not None and picture.alpha[0, 0] == 0 and (picture.alpha.ravel()[1:] == 65535).all()
    assert np.array_equal(picture.rgb, array)


def test_exif_does_not_move_the_strips_of_a_large_tiff(tmp_path, samples, exif_of, read_exif):
    array = samples(700, 900, 3, np.uint8)
    path = write_image(tmp_path / "x.tif", Picture(array, exif=exif_of()))
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages[0].dataoffsets) > 1
    assert np.array_equal(read_image(path).rgb, array)
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image), array)
    assert read_exif(path)["iso"] == 400


def test_a_damaged_exif_block_costs_no_pixel(tmp_path, samples):
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 0x8769, 4, 1, 10**6)
    array = samples(4, 4, 3, np.uint8)
    for suffix in (".tif", ".png", ".jpg", ".webp"):
        back = read_image(write_image(tmp_path / f"x{suffix}", Picture(array, exif=block)))
        assert suffix == ".jpg" or np.array_equal(back.rgb, array)
