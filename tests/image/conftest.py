"""Small pictures with metadata."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin

EXIF_SECONDS, EXIF_ISO, EXIF_VERSION = 33434, 34855, 36864


@pytest.fixture
def icc():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def exif_of():
    """EXIF blocks with tags in all three directories, maker notes, and an orientation."""

    def make(orientation=1):
        exif = Image.Exif()
        exif[ExifTags.Base.Make] = "Tortoise"
        exif[ExifTags.Base.Orientation] = orientation
        exif.get_ifd(ExifTags.IFD.Exif).update({EXIF_SECONDS: TiffImagePlugin.IFDRational(1, 125), EXIF_ISO: 400, EXIF_VERSION: b"0232"})
        exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (60.0, 10.0, 15.5)})
        return exif.tobytes()

    return make


@pytest.fixture
def read_exif():
    """What another program reads from a file: make, exposure time, ISO, latitude, orientation."""

    def read(path):
        with Image.open(path) as image:
            exif = image.getexif()
            inner, gps = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)
            seconds = inner.get(EXIF_SECONDS)
            return {
                "make": exif.get(ExifTags.Base.Make),
                "seconds": None if seconds is None else float(seconds),
                "iso": inner.get(EXIF_ISO),
                "version": inner.get(EXIF_VERSION),
                "latitude": tuple(float(v) for v in gps.get(2, ())),
                "orientation": exif.get(ExifTags.Base.Orientation, 1),
            }

    return read


@pytest.fixture
def samples():
    """Random samples of a shape and depth."""

    def make(height, width, channels, dtype, seed=0):
        rng = np.random.default_rng(seed)
        shape = (height, width, channels) if channels > 1 else (height, width)
        if np.dtype(dtype).kind == "f":
            return (rng.random(shape) * 1.5).astype(dtype)
        return rng.integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)

    return make


@pytest.fixture
def jpeg_bytes(samples):
    buffer = BytesIO()
    Image.fromarray(samples(40, 60, 3, np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
