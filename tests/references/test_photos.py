"""Files as they lie in real galleries: none of them stops a build, each is read or listed with a reason."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from raiha_core.references import ReferenceIndex
from raiha_core.references.photos import UnreadableImage, read_photo


@pytest.fixture
def zoo(tmp_path, draw_picture, save_picture):
    """One file of every awkward kind; returns the folder and the names that cannot be read."""
    folder = tmp_path / "zoo"
    folder.mkdir()

    def picture(seed):
        return Image.fromarray((draw_picture("disc", seed) * 255).astype(np.uint8))

    picture(1).convert("CMYK").save(folder / "cmyk.jpg")
    picture(2).save(folder / "animated.gif", save_all=True, append_images=[picture(3), picture(4)])
    picture(5).save(folder / "animated.png", save_all=True, append_images=[picture(6)])
    Image.fromarray(np.asarray(picture(7).convert("L")).astype(np.uint16) * 257).save(folder / "grey16.png")
    Image.fromarray(np.asarray(picture(8).convert("L")).astype(np.uint16) * 257).save(folder / "grey16.tif")
    Image.fromarray(np.asarray(picture(9).convert("L")).astype(np.float32) / 255).save(folder / "float.tif")
    picture(10).convert("P").save(folder / "palette.png")
    cut_out = picture(11).convert("RGBA")
    cut_out.putalpha(128)
    cut_out.save(folder / "alpha.webp")
    picture(12).convert("1").save(folder / "one-bit.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(13).save(folder / "rotated.jpg", exif=exif)
    picture(14).save(folder / "profile.jpg", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    picture(15).save(folder / "broken-profile.jpg", icc_profile=b"nonsense")
    Image.new("RGB", (1, 1), (9, 9, 9)).save(folder / "dot.png")
    Image.new("RGB", (3000, 2), (9, 99, 9)).save(folder / "thread.png")
    readable = {p.name for p in folder.iterdir()}

    whole = save_picture(folder / "whole.jpg", draw_picture("cross", 20)).read_bytes()
    (folder / "whole.jpg").unlink()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    png = save_picture(folder / "whole.png", draw_picture("cross", 21)).read_bytes()
    (folder / "whole.png").unlink()
    (folder / "truncated.png").write_bytes(png[: len(png) // 2])
    (folder / "flipped.png").write_bytes(png[:200] + bytes(b ^ 0xFF for b in png[200:400]) + png[400:])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("this is no picture")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    (folder / "bomb.png").write_bytes(huge_png(60_000, 60_000))
    (folder / "notes.txt").write_text("not a photo at all")
    (folder / "._hidden.jpg").write_text("not to be looked at")
    return folder, readable


def huge_png(width: int, height: int) -> bytes:
    """A tiny file that claims an enormous picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_none_stops_the_build_and_all_are_accounted_for(tmp_path, zoo, encoder, draw_picture, save_picture):
    folder, readable = zoo
    with ReferenceIndex.build(folder, tmp_path / "i", encoder) as index:
        failures = {path.name: reason for path, reason in index.failures()}
        assert set(failures) == {
            "truncated.jpg", "truncated.png", "flipped.png", "empty.jpg", "text.jpg", "phone.heic", "bomb.png",
        }  # fmt: skip
        assert len(index) == len(readable)
        assert "empty" in failures["empty.jpg"] and "pillow-heif" in failures["phone.heic"]
        assert "too large" in failures["bomb.png"] and "truncated" in failures["truncated.jpg"]
        # Mended files are taken in by the next build; the others are tried again and stay listed.
        save_picture(folder / "truncated.jpg", draw_picture("cross", 20))
        index.update()
        assert len(index) == len(readable) + 1
        assert len(index.failures()) == 6


def test_depth_and_colour_survive_reading(zoo):
    folder, _ = zoo
    for name, seed_file in (("grey16.png", 7), ("grey16.tif", 8), ("float.tif", 9)):
        mean = np.asarray(read_photo(folder / name, 512)[0]).mean()
        assert 30 < mean < 200, f"{name} {seed_file} is neither clipped nor black"
    picture, size = read_photo(folder / "rotated.jpg", 512)
    assert size == picture.size == (90, 120)
    cmyk, rgb = np.asarray(read_photo(folder / "cmyk.jpg", 512)[0]).mean(), np.asarray(read_photo(folder / "profile.jpg", 512)[0]).mean()
    assert abs(cmyk - rgb) < 60
    assert read_photo(folder / "thread.png", 100)[0].size[0] == 100


def test_a_200_megapixel_jpeg_takes_little_memory(tmp_path):
    path = tmp_path / "large.jpg"
    Image.new("L", (16320, 12320), 90).save(path, quality=30)
    # In a process of its own, since peak memory never falls.
    code = (
        "import sys, resource; from raiha_core.references.photos import read_photo; "
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; picture, size = read_photo(sys.argv[1], 576); "
        "print(size, max(picture.size), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("(16320, 12320) 576 ")
    kilobytes = int(done.stdout.split()[-1]) // (1024 if sys.platform == "darwin" else 1)
    assert kilobytes < 150_000


def test_a_200_megapixel_png_is_refused_before_decoding(tmp_path):
    (tmp_path / "large.png").write_bytes(huge_png(16320, 12320))
    with pytest.raises(UnreadableImage, match=r"too large|too many"):
        read_photo(tmp_path / "large.png", 576)
    (tmp_path / "medium.png").write_bytes(huge_png(13000, 10000))
    with pytest.raises(UnreadableImage, match="13000 x 10000"):
        read_photo(tmp_path / "medium.png", 576)


def test_names_that_are_no_unicode_are_listed(tmp_path, encoder, draw_picture, save_picture):
    folder = tmp_path / "g"
    good = save_picture(folder / "good.png", draw_picture("disc", 1))
    try:
        with open(bytes(folder) + b"/bad\xff.png", "wb") as file:
            file.write(good.read_bytes())
    except OSError:
        pytest.skip("this file system takes only Unicode names")
    with ReferenceIndex.build(folder, tmp_path / "i", encoder) as index:
        assert len(index) == 1
        assert "rename" in index.failures()[0][1]
