"""Pictures to files without losing depth, alpha, EXIF or the colour profile."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import atomically
from ..errors import RaihaError
from ..suffixes import WRITABLE
from . import png, tiff
from .direct import DIRECT
from .limits import LARGE
from .picture import Picture, as_path, checked, to_8_bit

_XMP_OF_JPEG = 65_000
"""A segment of a JPEG holds no more."""
_LONGEST_SIDE = {".jpg": 65535, ".jpeg": 65535, ".webp": 16383}


def check_output(path: str | os.PathLike[str]) -> Path:
    """Refuse an output path that cannot be written, before any work is done.

    Raises:
        RaihaError: an unknown suffix, a missing or unwritable folder, or a folder of that name.
    """
    file = as_path(path)
    if file.suffix.lower() not in WRITABLE:
        raise RaihaError(f"{file} has no known picture suffix; use one of {', '.join(WRITABLE)}.")
    if os.path.isdir(file):
        raise RaihaError(f"{file} is a folder; give a file name for the result.")
    if not os.path.isdir(file.parent):
        raise RaihaError(f"The folder {file.parent} does not exist; create it or choose another output path.")
    if not os.access(file.parent, os.W_OK):
        raise RaihaError(f"The folder {file.parent} is not writable; choose another output path.")
    return file


def write_image(path: str | os.PathLike[str], picture: Picture) -> Path:
    """Write a picture in its own depth with alpha, EXIF and profile; the file appears whole or not at all.

    PNG holds 8 and 16 bits, TIFF also float, WebP (lossless) and JPEG (quality 95, no chroma subsampling) 8 bits. A deeper
    picture written to JPEG or WebP is rounded to 8 bits, because that is what the suffix asks for.

    Raises:
        RaihaError: the format cannot hold the picture, or the path cannot be written, for example on a full disk.
    """
    file = check_output(path)
    checked(picture, "The picture")
    suffix = file.suffix.lower()
    if suffix in (".jpg", ".jpeg") and picture.alpha is not None:
        raise RaihaError(f"{file} cannot hold the alpha channel; write .png, .tif or .webp instead.")
    if suffix == ".png" and picture.rgb.dtype == np.float32:
        raise RaihaError(f"{file} cannot hold floating-point samples; write .tif instead.")
    longest, limit = max(picture.size), _LONGEST_SIDE.get(suffix)
    if limit is not None and longest > limit:
        raise RaihaError(f"{file} cannot be {longest} pixels long, the format ends at {limit}; write .png or .tif instead.")
    writer: Callable[[Path, Picture], None]
    if suffix in (".tif", ".tiff"):
        writer = tiff.write
    elif suffix == ".png":
        writer = png.write
    else:
        writer = _write_with_pillow
    atomically(file, lambda part: writer(part, picture))
    return file


def _write_with_pillow(part: Path, picture: Picture) -> None:
    large = part.suffix in (".jpg", ".jpeg") and picture.rgb.shape[0] * picture.rgb.shape[1] >= min(DIRECT, LARGE)
    # Of a large picture Pillow would make a copy of four bytes for a pixel: it writes the metadata alone. The file is the same.
    image = picture.with_rgb(picture.rgb[:1, :1]).pil() if large else picture.pil()
    options: dict[str, Any] = {"icc_profile": picture.icc, "exif": picture.exif or b""}
    if picture.xmp and (part.suffix == ".webp" or len(picture.xmp) <= _XMP_OF_JPEG):
        options["xmp"] = picture.xmp
    if part.suffix in (".jpg", ".jpeg"):
        image.save(part, "JPEG", quality=95, subsampling=0, **options)
        if large:
            _write_large_jpeg(part, picture)
    else:
        # In lossless WebP more effort costs three times as long for one per cent.
        options["icc_profile"] = None if picture.grey else picture.icc  # WebP knows no grey
        image.save(part, "WEBP", lossless=True, exact=True, quality=20, method=1, **options)


def _write_large_jpeg(part: Path, picture: Picture) -> None:
    """A JPEG of a large picture, with the metadata of the small one that lies there."""
    import imagecodecs

    data = imagecodecs.jpeg8_encode(to_8_bit(picture.native(), picture.white), level=95, subsampling="444")
    small = part.read_bytes()
    with part.open("wb") as file:
        file.write(small[: _after_metadata(small)])
        file.write(memoryview(data)[_after_metadata(data) :])


def _after_metadata(data: bytes | bytearray) -> int:
    """Where a JPEG's first segment begins that is neither its beginning nor an application's."""
    at = 2
    while data[at] == 0xFF and 0xE0 <= data[at + 1] <= 0xEF:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at
