"""Depths and layouts that few programs write: signed, odd and wide samples, volumes, inks of 16 bits, bit fields of any place."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile

from raiha_core.errors import RaihaError
from raiha_core.image import read_image, read_mask
from raiha_core.image.spaces import make_profile


@pytest.mark.parametrize("kind", ["i1", "i2", "u4", "i4", "u8", "i8"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_eight_bits_in_a_larger_room_are_read_as_they_are(tmp_path, samples, kind, planar):
    array = samples(6, 8, 3, np.uint8) % 128
    stored = array.astype(kind) if planar == "contig" else array.astype(kind).transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="rgb", planarconfig=planar)
    picture = read_image(tmp_path / "x.tif")
    assert picture.rgb.dtype == np.uint8 and np.array_equal(picture.rgb, array)
    assert "255 was taken for white" in picture.notices[0]


@pytest.mark.parametrize(("kind", "white"), [("i2", 2**15 - 1), ("u4", 2**32 - 1), ("i4", 2**31 - 1), ("u8", 2**64 - 1)])
def test_whole_ranges_become_sixteen_bits(tmp_path, kind, white):
    levels = [0, white // 4, white // 2, white]
    tifffile.imwrite(tmp_path / "x.tif", np.array([levels, levels], kind), photometric="minisblack")
    picture = read_image(tmp_path / "x.tif")
    assert picture.rgb.dtype == np.uint16 and picture.grey
    assert np.abs(picture.rgb[0, :, 0].astype(int) - [0, 16384, 32767, 65535]).max() <= 2
    assert "to 16 bits" in picture.notices[0]


def test_sixteen_bits_in_thirty_two_are_kept(tmp_path, samples):
    array = samples(6, 8, 3, np.uint16)
    array[0, 0] = 65535
    tifffile.imwrite(tmp_path / "x.tif", array.astype(np.uint32), photometric="rgb")
    assert np.array_equal(read_image(tmp_path / "x.tif").rgb, array)


def test_white_may_be_zero(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.array([[0, 2**31 - 1]], np.int32), photometric="miniswhite")
    assert read_image(tmp_path / "x.tif").rgb[0, :, 0].tolist() == [65535, 0]


def test_negative_samples_and_numbers_that_are_none_end_in_a_true_sentence(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.array([[-5, 9]], np.int16), photometric="minisblack")
    with pytest.raises(RaihaError, match="negative samples, down to -5"):
        read_image(tmp_path / "x.tif")
    tifffile.imwrite(tmp_path / "y.tif", np.zeros((4, 5), np.complex64), photometric="minisblack")
    with pytest.raises(RaihaError, match="samples of type complex64"):
        read_image(tmp_path / "y.tif")


def packed(array, bits):
    """Rows of samples of a few bits each, the highest first, filled up to whole bytes."""
    rows = []
    for row in array.reshape(len(array), -1):
        digits = "".join(f"{int(v):0{bits}b}" for v in row)
        digits += "0" * (-len(digits) % 8)
        rows.append(int(digits, 2).to_bytes(len(digits) // 8, "big"))
    return b"".join(rows)


def tiff_of(tags, data):
    """A TIFF of one directory; a tag's value None is where the pixels lie."""
    place = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, place if value is None else value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + data


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_packed_bits_of_cameras_and_scanners(tmp_path, bits):
    array = np.random.default_rng(bits).integers(0, 2**bits, (6, 7))
    array[0, 0] = 2**bits - 1
    data = packed(array, bits)
    tags = {256: 7, 257: 6, 258: bits, 259: 1, 262: 1, 273: None, 277: 1, 278: 6, 279: len(data)}
    (tmp_path / "x.tif").write_bytes(tiff_of(tags, data))
    picture = read_image(tmp_path / "x.tif")
    assert picture.rgb.max() == 65535 and f"{bits}-bit samples; they were stretched to 16 bits" in picture.notices[0]
    assert np.array_equal(np.rint(picture.rgb[..., 0] / 65535 * (2**bits - 1)), array)


@pytest.mark.parametrize("layout", ["grey", "contig", "separate"])
def test_a_layer_of_a_volume(tmp_path, samples, layout):
    layers = np.stack([samples(16, 16, 3, np.uint8, seed) for seed in range(3)])
    stored, options = layers, {"photometric": "rgb", "planarconfig": layout}
    if layout == "grey":
        stored, options = layers[..., 0], {"photometric": "minisblack"}
    elif layout == "separate":
        stored = layers.transpose(3, 0, 1, 2)
    tifffile.imwrite(tmp_path / "x.tif", stored, volumetric=True, **options)
    for number in (None, 1, 3):
        picture = read_image(tmp_path / "x.tif", number)
        wanted = layers[(number or 1) - 1]
        assert np.array_equal(picture.rgb, np.repeat(wanted[..., :1], 3, 2) if layout == "grey" else wanted)
        assert bool(picture.notices) == (number is None)
    with pytest.raises(RaihaError, match="no page 4; it holds 3"):
        read_image(tmp_path / "x.tif", 4)
    assert read_mask(tmp_path / "x.tif").shape == (16, 16)


def test_a_volume_is_counted_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setenv("RAIHA_MEMORY_GB", "1")
    tags = {256: 1000, 257: 1000, 258: 8, 259: 1, 262: 1, 273: None, 277: 1, 278: 1000, 279: 100, 32997: 5000}
    (tmp_path / "x.tif").write_bytes(tiff_of(tags, bytes(100)))
    with pytest.raises(RaihaError, match="GB of memory"):
        read_image(tmp_path / "x.tif")


def test_a_directory_without_pixels(tmp_path):
    (tmp_path / "x.tif").write_bytes(tiff_of({256: 0, 257: 0, 258: 8, 259: 1, 262: 1, 273: None, 277: 1, 278: 1, 279: 1}, b"x"))
    with pytest.raises(RaihaError, match="holds no pixels"):
        read_image(tmp_path / "x.tif")


def test_inks_of_sixteen_bits(tmp_path):
    paper, cyan, black = [0, 0, 0, 0], [65535, 0, 0, 0], [0, 0, 0, 65535]
    tifffile.imwrite(tmp_path / "x.tif", np.array([[paper, cyan, black]], np.uint16), photometric="separated")
    picture = read_image(tmp_path / "x.tif")
    assert picture.rgb.tolist() == [[[65535] * 3, [0, 65535, 65535], [0] * 3]]
    # A profile of other colours than inks does not serve.
    rgb = make_profile(2.2, (0.3127, 0.3290), (0.64, 0.33, 0.30, 0.60, 0.15, 0.06))
    tifffile.imwrite(tmp_path / "y.tif", np.array([[paper, cyan, black]], np.uint16), photometric="separated", iccprofile=rgb)
    assert np.array_equal(read_image(tmp_path / "y.tif").rgb, picture.rgb)


def bmp_of(words, masks, depth, size=40, top_down=False):
    """A BMP of bit fields: the masks follow the oldest header and are part of the later ones."""
    height, width = words.shape
    pitch = (width * depth + 31) // 32 * 4
    rows = [row.astype(f"<u{depth // 8}").tobytes().ljust(pitch, b"\0") for row in (words if top_down else words[::-1])]
    header = struct.pack("<IiiHHIIiiII", size, width, -height if top_down else height, 1, depth, 3, 0, 0, 0, 0, 0)
    fields = b"".join(struct.pack("<I", m) for m in masks)
    header += fields.ljust(max(12, size - 40), b"\0")
    start = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", start + pitch * height, 0, 0, start) + header + b"".join(rows)


FIELDS = {
    "444": ((0xF00, 0xF0, 0xF), 16, 40), "4444": ((0xF00, 0xF0, 0xF, 0xF000), 16, 108), "turned": ((0xFF, 0xFF00, 0xFF0000), 32, 40),
    "ten": ((0x3FF00000, 0xFFC00, 0x3FF), 32, 40), "ten and two": ((0x3FF, 0xFFC00, 0x3FF00000, 0xC0000000), 32, 124),
    "565": ((0xF800, 0x7E0, 0x1F), 16, 40),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("top_down", [False, True])
def test_bit_fields_of_any_place_and_width(tmp_path, name, top_down):
    masks, depth, size = FIELDS[name]
    words = np.random.default_rng(1).integers(0, 2**depth, (3, 5))
    (tmp_path / "x.bmp").write_bytes(bmp_of(words, masks, depth, size, top_down))
    picture = read_image(tmp_path / "x.bmp")
    wanted = [((words & m) >> ((m & -m).bit_length() - 1)) / (m >> ((m & -m).bit_length() - 1)) for m in masks]
    assert np.abs(picture.rgb / picture.scale - np.stack(wanted[:3], -1)).max() <= 1 / 255
    assert (picture.alpha is None) == (len(masks) == 3)
    assert picture.rgb.dtype == (np.uint16 if "ten" in name else np.uint8)


@pytest.mark.parametrize("masks", [(0xF00, 0xF00, 0xF), (0xF00, 0, 0xF), (0x505, 0xF0, 0x2), (0xFF000000, 0xFF00, 0xFF)])
def test_damaged_bit_fields_end_in_a_sentence(tmp_path, masks):
    (tmp_path / "x.bmp").write_bytes(bmp_of(np.zeros((3, 5), int), masks, 16))
    with pytest.raises(RaihaError, match="bit fields are damaged"):
        read_image(tmp_path / "x.bmp")
    (tmp_path / "y.bmp").write_bytes(bmp_of(np.zeros((3, 5), int), (0xF00, 0xF0, 0xF), 16)[:-4])
    with pytest.raises(RaihaError, match="truncated"):
        read_image(tmp_path / "y.bmp")
