"""Photos at a reduced size: colours as they were meant, whatever holds them; and no trace left in the process."""

from __future__ import annotations

import os
import struct
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from raiha_core.errors import RaihaError
from raiha_core.image import quiet, read_image, reduced, to_8_bit
from raiha_core.image.reduced import UnreadableImage, read_reduced
from raiha_core.suffixes import READABLE


@pytest.fixture
def photo() -> np.ndarray:
    """A 60 x 80 picture of saturated colours, uint8."""
    y, x = np.mgrid[0:60, 0:80]
    return np.stack([60 + 2 * x, 200 - y, 30 + x + y], 2).astype(np.uint8)


@pytest.fixture
def wide_gamut() -> bytes:
    """A profile whose primaries are those of Display P3, made from sRGB's by exchanging the matrix."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    columns = {b"rXYZ": (0.51512, 0.2412, -0.00105), b"gXYZ": (0.29198, 0.69225, 0.04189), b"bXYZ": (0.1571, 0.06657, 0.78407)}
    for i in range(int.from_bytes(data[128:132], "big")):
        entry = data[132 + 12 * i : 144 + 12 * i]
        if bytes(entry[:4]) in columns:
            offset = int.from_bytes(entry[4:8], "big")
            numbers = b"".join(round(v * 65536).to_bytes(4, "big", signed=True) for v in columns[bytes(entry[:4])])
            data[offset + 8 : offset + 20] = numbers
    return bytes(data)


def array(path: Path, side: int = 100) -> np.ndarray:
    return np.asarray(read_reduced(path, side)[0]).astype(int)


def test_profiles_count_in_every_mode(tmp_path, photo, wide_gamut):
    rgb = Image.fromarray(photo)
    files = {"rgb.png": rgb, "rgba.png": rgb.convert("RGBA"), "palette.png": rgb.quantize(256)}
    for name, image in files.items():
        image.save(tmp_path / name, icc_profile=wide_gamut)
    rgb.save(tmp_path / "plain.png")
    tifffile.imwrite(tmp_path / "deep.tif", photo.astype(np.uint16) * 257, photometric="rgb", iccprofile=wide_gamut)
    expected = array(tmp_path / "rgb.png")
    assert abs(expected - array(tmp_path / "plain.png")).max() > 25, "the profile changes colours"
    assert abs(array(tmp_path / "rgba.png") - expected).max() <= 1
    assert abs(array(tmp_path / "deep.tif") - expected).max() <= 1
    assert abs(array(tmp_path / "palette.png") - expected).mean() < 5


def test_colours_under_full_transparency_do_not_count(tmp_path, photo):
    alpha = np.full(photo.shape[:2], 255, np.uint8)
    alpha[:, 40:] = 0
    other = photo.copy()
    other[:, 40:] = (255, 0, 255)
    for name, colours in (("a", photo), ("b", other)):
        Image.fromarray(np.dstack([colours, alpha])).save(tmp_path / f"{name}.png")
    for side in (100, 24):
        first, second = array(tmp_path / "a.png", side), array(tmp_path / "b.png", side)
        assert abs(first - second).max() <= 1
    assert (array(tmp_path / "a.png")[:, 45:] == reduced.GREY).all()


def test_tiffs_that_pillow_reads_wrongly_or_not_at_all(tmp_path, photo):
    deep, floats = photo.astype(np.uint16) * 257, photo.astype(np.float32) / 255
    tifffile.imwrite(tmp_path / "planar.tif", deep.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(tmp_path / "float.tif", floats, photometric="rgb")
    tifffile.imwrite(tmp_path / "half.tif", floats.astype(np.float16), photometric="rgb")
    tifffile.imwrite(tmp_path / "turned.tif", photo, photometric="rgb", extratags=[(274, "H", 1, 6, True)])
    tifffile.imwrite(tmp_path / "pages.tif", np.stack([photo, 255 - photo]), photometric="rgb")
    bright = photo[..., 0].astype(np.float32) / 100
    tifffile.imwrite(tmp_path / "bright.tif", bright)
    for name in ("planar.tif", "float.tif", "pages.tif"):
        assert abs(array(tmp_path / name) - photo).max() <= 1, name
    assert abs(array(tmp_path / "bright.tif")[..., 0] - (bright * 255).clip(0, 255)).max() <= 1, "what is brighter than white is white"
    picture, size = read_reduced(tmp_path / "turned.tif", 100)
    assert size == picture.size == (60, 80) and abs(np.asarray(picture).astype(int) - np.rot90(photo, -1)).max() <= 1
    tifffile.imwrite(tmp_path / "nan.tif", np.full((4, 4, 3), np.nan, np.float32), photometric="rgb")
    assert array(tmp_path / "nan.tif").max() == 0


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_both_readers_agree_on_what_is_up(tmp_path, photo, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(photo).save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    whole = read_image(path)
    small, size = read_reduced(path, 100)
    assert size == small.size == whole.size[::-1]
    assert abs(np.asarray(small).astype(int) - whole.rgb).mean() < 2


def test_pictures_larger_than_memory_are_refused_before_they_are_decoded(tmp_path):
    # Width, length, bits, no compression, black is zero, one strip of a few bytes at 200.
    tags = [(256, 20000), (257, 20000), (258, 8), (259, 1), (262, 1), (273, 200), (277, 1), (278, 20000), (279, 50)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    (tmp_path / "huge.tif").write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(200))
    with pytest.raises(UnreadableImage, match="20000 x 20000"):
        read_reduced(tmp_path / "huge.tif", 100)


def test_threads_leave_the_warnings_of_the_process_alone(tmp_path, photo, monkeypatch):
    """Two readers whose turns overlap: with `catch_warnings`, the second restored what the first had set."""
    Image.fromarray(photo).save(tmp_path / "a.png")
    before = list(warnings.filters)
    meet = threading.Barrier(2)
    entered = threading.Event()
    opened = Image.open

    def first_in_first_out(file, **options):
        if threading.current_thread().name == "second":
            entered.set()
            meet.wait(10)
        else:
            entered.wait(10)
        return opened(file, **options)

    monkeypatch.setattr(Image, "open", first_in_first_out)

    def read(wait: bool) -> None:
        read_reduced(tmp_path / "a.png", 50)
        if wait:
            meet.wait(10)

    threads = [threading.Thread(target=read, args=(True,), name="first"), threading.Thread(target=read, args=(False,), name="second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before
    with quiet.quiet():
        assert list(warnings.filters) != before
        with pytest.warns(UserWarning, match="of the caller"):
            warnings.warn("of the caller", UserWarning, stacklevel=1)
    assert list(warnings.filters) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImage, match="pipe"):
        read_reduced(tmp_path / "pipe.png", 50)


def test_what_can_be_read_is_one_list_in_the_docs():
    text = (Path(__file__).parents[2] / "docs" / "fidelity.md").read_text(encoding="utf-8")
    section = text.partition("<!-- readable -->")[2].partition("<!-- /readable -->")[0].replace("\n", " ")
    assert sorted(section.split("`")[1].split()) == sorted(READABLE)


@pytest.mark.parametrize("suffix", READABLE)
def test_both_readers_read_every_kind_alike(tmp_path, photo, suffix):
    Image.init()
    kind = Image.registered_extensions().get(suffix, "HEIF")
    if kind not in Image.SAVE:
        pytest.skip(f"Pillow cannot write {kind}")
    file = tmp_path / f"a{suffix}"
    image = Image.fromarray(photo).convert({".pgm": "L", ".pbm": "1"}.get(suffix, "RGB"))
    image.save(file, kind, **({"quality": 95} if kind in ("JPEG", "AVIF") else {}))
    whole = to_8_bit(read_image(file).rgb).astype(int)
    assert abs(array(file) - whole).max() <= 1, "the same pixels"


@pytest.mark.parametrize(("kind", "mode"), [("EPS", "RGB"), ("XBM", "1")])
def test_neither_reads_what_is_not_on_the_list(tmp_path, photo, kind, mode):
    """Least of all what starts another program, as EPS does, whatever the file is called."""
    file = tmp_path / "a.jpg"
    Image.fromarray(photo).convert(mode).save(file, kind)
    with pytest.raises(UnreadableImage, match="not a picture"):
        read_reduced(file, 50)
    with pytest.raises(RaihaError, match="cannot be read as a picture"):
        read_image(file)


def test_a_webp_is_measured_before_it_takes_memory(tmp_path):
    """A canvas of 16,383 pixels each way, in a file of some bytes."""
    file = tmp_path / "a.webp"
    size = (16382).to_bytes(3, "little")
    file.write_bytes(b"RIFF" + (22).to_bytes(4, "little") + b"WEBPVP8X" + (10).to_bytes(4, "little") + bytes(4) + size * 2)
    with pytest.raises(UnreadableImage, match="16383 x 16383 pixels are too many"):
        read_reduced(file, 50)
