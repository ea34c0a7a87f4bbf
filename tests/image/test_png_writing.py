"""PNGs as they are written: other readers find every sample in them, and they are as small as libpng makes them."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from raiha_core.image import from_array, png, write_image


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (37, 23)])
def test_libpng_finds_every_sample(tmp_path, dtype, channels, size):
    samples = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (*size, channels), dtype=dtype, endpoint=True)
    file = write_image(tmp_path / "x.png", from_array(samples))
    found = imagecodecs.png_decode(file.read_bytes())
    assert found.dtype == dtype and (found.reshape(samples.shape) == samples).all()
    with Image.open(file) as image:
        image.verify()


def test_a_long_stream_lies_in_several_chunks(tmp_path, monkeypatch):
    samples = np.random.default_rng(2).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    monkeypatch.setattr(png, "_LONGEST", 500)
    file = write_image(tmp_path / "x.png", from_array(samples))
    assert file.read_bytes().count(b"IDAT") > 2
    with Image.open(file) as image:
        assert (np.asarray(image) == samples).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_large_pictures_go_strip_by_strip(tmp_path, monkeypatch, dtype):
    samples = np.random.default_rng(2).integers(0, 256, (50, 30, 4), dtype=dtype)
    monkeypatch.setattr(png, "_AT_ONCE", 1000)
    monkeypatch.setattr(png, "_STRIP", 1500)
    monkeypatch.setattr(png, "_filtered", lambda rows, above, real=png._filtered: seen.append(len(rows)) or real(rows, above))
    seen: list[int] = []
    file = write_image(tmp_path / "x.png", from_array(samples))
    assert len(seen) >= 5 and sum(seen) == 50
    assert (imagecodecs.png_decode(file.read_bytes()) == samples).all()


def test_the_fast_way_is_not_the_large_way(tmp_path):
    y, x = np.mgrid[:300, :400] / 60
    waves = 120 + 60 * np.stack([np.sin(x + y), np.cos(x * y / 3), np.sin(y - x / 2)], -1)
    photo = (waves + np.random.default_rng(3).normal(0, 2, waves.shape)).clip(0, 255).astype(np.uint8)
    written = write_image(tmp_path / "x.png", from_array(photo)).stat().st_size
    assert written < 1.05 * len(imagecodecs.png_encode(photo, level=4))
