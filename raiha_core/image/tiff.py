"""TIFF in any depth, with profile and EXIF."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import RaihaError
from .limits import MAX_PIXELS, too_many_pixels
from .metadata import ORIENTATION, add_tiff_exif
from .picture import Picture


class Page(NamedTuple):
    """What a TIFF holds.

    Attributes:
        samples: `(H, W[, C])`, or None where Pillow knows better (palette, CMYK, Lab, YCbCr).
        premultiplied: the colours are multiplied by alpha.
        icc: profile.
        orientation: 1 to 8.
    """

    samples: NDArray[Any] | None
    premultiplied: bool
    icc: bytes | None
    orientation: int


def is_tiff(file: Path) -> bool:
    """Whether the file begins like a TIFF or BigTIFF."""
    with file.open("rb") as stream:
        return stream.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read(file: Path) -> Page:
    """Read a TIFF of one picture; Pillow alone would not know RGB of more than 8 bits.

    Raises:
        RaihaError: several pictures, or samples of a kind that is no picture of ours.
    """
    import tifffile

    with tifffile.TiffFile(file) as handle:
        pages: list[Any] = list(handle.pages)
        count = sum(not (getattr(p, "is_reduced", False) or getattr(p, "is_mask", False)) for p in pages)
        if count > 1:
            raise RaihaError(f"{file} holds {count} frames or pages; extract the one you want and give that.")
        page = pages[0]
        if page.imagewidth * page.imagelength > MAX_PIXELS:
            raise too_many_pixels(file)
        turned = page.tags.get(ORIENTATION)
        icc, orientation = page.iccprofile or None, int(turned.value) if turned is not None else 1
        if page.photometric not in (0, 1, 2) or page.bitspersample not in (8, 16, 32, 64):
            if page.bitspersample > 8:
                raise RaihaError(f"{file} holds {page.bitspersample}-bit {page.photometric.name} colours; save it as RGB.")
            return Page(None, False, icc, orientation)
        array = np.asarray(page.asarray())
        extra = [int(e) for e in page.extrasamples]
    if page.planarconfig == 2 and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    if array.dtype.kind != "f" and (array.dtype.kind != "u" or array.dtype.itemsize > 2):
        raise RaihaError(f"{file} has samples of type {array.dtype}; save it with 8 or 16 bits or as floating point.")
    if page.photometric == 0:  # white is zero
        array = np.iinfo(array.dtype).max - array if array.dtype.kind == "u" else 1 - array
    if array.ndim == 3:
        # A first extra channel is taken for alpha, also where the file does not say so; spot colours and the like are not kept.
        array = array[:, :, : (3 if page.photometric == 2 else 1) + min(1, len(extra))]
    return Page(array.astype(np.float32) if array.dtype.kind == "f" else array, extra[:1] == [1], icc, orientation)


def write(part: Path, picture: Picture) -> None:
    """Write 8-bit, 16-bit or float samples with deflate compression, profile and EXIF.

    Raises:
        ValueError: the EXIF block is damaged.
    """
    import tifffile

    array = picture.native()
    single = array.shape[2] == 1
    tifffile.imwrite(
        part,
        array[:, :, 0] if single else array,
        photometric="minisblack" if picture.grey else "rgb",
        planarconfig=None if single else "contig",
        extrasamples=None if picture.alpha is None else ["assocalpha" if picture.premultiplied else "unassalpha"],
        compression="zlib",
        rowsperstrip=max(1, 2**20 // max(1, array.strides[0])),
        iccprofile=picture.icc,
        software=False,
        metadata=None,
    )
    if picture.exif:
        add_tiff_exif(part, picture.exif)
