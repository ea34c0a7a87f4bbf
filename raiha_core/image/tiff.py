"""TIFF in any depth, with profile and EXIF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from ..errors import RaihaError
from .picture import Picture

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_COPIED = {270: 2, 271: 2, 272: 2, 305: 2, 306: 2, 315: 2, 33432: 2}  # descriptive ASCII tags of the first directory


def read_deep(file: Path) -> NDArray[Any] | None:
    """Samples `(H, W[, C])` of a grey or RGB TIFF, or None where Pillow knows better (palette, CMYK, Lab, YCbCr)."""
    import tifffile

    with tifffile.TiffFile(file) as handle:
        page: Any = handle.pages[0]
        if page.photometric not in (0, 1, 2) or page.bitspersample not in (8, 16, 32, 64):
            return None
        array = np.asarray(page.asarray())
        if page.planarconfig == 2 and array.ndim == 3:
            array = array.transpose(1, 2, 0)
        if page.photometric == 0:  # white is zero
            array = np.iinfo(array.dtype).max - array if array.dtype.kind in "ui" else 1 - array
        if array.dtype.kind == "f":
            return array.astype(np.float32)
        if array.dtype.kind != "u" or array.dtype.itemsize > 2:
            raise RaihaError(f"{file} has samples of type {array.dtype}; save it with 8 or 16 bits or as floating point.")
        if array.ndim == 3 and array.shape[2] > 4:
            raise RaihaError(f"{file} has {array.shape[2]} channels; save it with three, or four with alpha.")
        return array


def write(part: Path, picture: Picture) -> None:
    """Write 8-bit, 16-bit or float samples with deflate compression, alpha as unassociated, EXIF in its own directories."""
    import tifffile

    array = picture.rgb if picture.alpha is None else np.dstack([picture.rgb, picture.alpha])
    exif = Image.Exif()
    if picture.exif:
        exif.load(picture.exif)
    tags: list[Any] = [(code, kind, None, str(exif[code]), True) for code, kind in _COPIED.items() if code in exif]
    directories = {code: exif.get_ifd(code) for code in (_EXIF_IFD, _GPS_IFD)}
    directories = {code: ifd for code, ifd in directories.items() if ifd}
    tags += [(code, 4, 1, 0, True) for code in directories]
    tifffile.imwrite(
        part,
        np.ascontiguousarray(array),
        photometric="rgb",
        extrasamples=None if picture.alpha is None else ["unassalpha"],
        compression="zlib",
        rowsperstrip=max(1, 2**20 // max(1, array.strides[0])),
        iccprofile=picture.icc,
        extratags=tags,
        software=False,
        metadata=None,
    )
    for code, entries in directories.items():
        _append_directory(part, code, entries)


def _append_directory(part: Path, code: int, entries: dict[int, Any]) -> None:
    """Put an IFD at the file's end and point the placeholder tag `code` at it."""
    import tifffile

    ifd = TiffImagePlugin.ImageFileDirectory_v2()
    for key, value in entries.items():
        if not isinstance(value, dict):
            ifd[key] = value
    with part.open("r+b") as stream:
        offset = stream.seek(0, 2)
        if offset % 2:
            offset += stream.write(b"\0")
        stream.write(ifd.tobytes(offset))
    with tifffile.TiffFile(part, mode="r+b") as handle:
        page: Any = handle.pages[0]
        page.tags[code].overwrite(offset)
