"""TIFF in any depth, with profile and EXIF."""

from __future__ import annotations

import itertools
import logging
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import RaihaError
from .depths import unsigned
from .limits import USUAL, WORK, check_memory, check_pixels
from .metadata import ORIENTATION, add_tiff_exif
from .picture import Picture

_MOST_PAGES = 1000
"""Directories that are looked at; files with more of them are made to keep readers busy."""
_XMP = 700
_GREY, _RGB, _PALETTE, _INKS = (0, 1), 2, 3, 5
# Without a handler of its own, the library's log would go to stderr, line by line, for every odd file of a batch.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


class Page(NamedTuple):
    """What a TIFF holds.

    Attributes:
        samples: `(H, W[, C])`, or None where Pillow knows better (Lab, YCbCr, few bits).
        inks: the samples are those of cyan, magenta, yellow and black.
        premultiplied: the colours are multiplied by alpha.
        icc: profile.
        orientation: 1 to 8.
        pages: full-size pages of the file, or layers of its volume.
        frame: which of the file's directories this is.
        notices: what the user should know of its samples.
        xmp: XMP packet, or None.
    """

    samples: NDArray[Any] | None
    inks: bool
    premultiplied: bool
    icc: bytes | None
    orientation: int
    pages: int
    frame: int
    notices: tuple[str, ...] = ()
    xmp: Any = None


def is_tiff(file: Path) -> bool:
    """Whether the file begins like a TIFF or BigTIFF."""
    with file.open("rb") as stream:
        return stream.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read(file: Path, number: int = 1) -> Page:
    """Read a page of a TIFF; Pillow alone would not know RGB of more than 8 bits.

    Args:
        number: which of the full-size pages, from 1; reduced copies and masks do not count.

    Raises:
        RaihaError: no such page, or samples of a kind that is no picture of ours.
    """
    import tifffile

    with tifffile.TiffFile(file) as handle:
        frames = _full_pages(handle)
        page: Any = handle.pages[frames[0]]
        layers = _layers(page) if len(frames) == 1 else 1
        pages = max(len(frames), layers)
        if number > pages:
            return Page(None, False, False, None, 1, pages, 0)
        frame, layer = (frames[0], number - 1) if layers > 1 else (frames[number - 1], 0)
        page = handle.pages[frame]
        turn, icc = page.tags.valueof(ORIENTATION), page.tags.valueof("InterColorProfile")
        xmp = page.tags.valueof(_XMP)
        known = (icc if isinstance(icc, bytes) else None, int(turn) if turn in range(1, 9) else 1, pages, frame)
        _check(file, page)
        inks = page.photometric == _INKS and page.bitspersample in (8, 16) and page.samplesperpixel == 4
        if page.photometric not in (*_GREY, _RGB, _PALETTE, *([_INKS] if inks else [])) or page.bitspersample < 8:
            if page.bitspersample > 8:
                name = getattr(page.photometric, "name", page.photometric)
                raise RaihaError(f"{file} holds {page.bitspersample}-bit {name} colours; save it as RGB with 8 or 16 bits.")
            return Page(None, False, False, *known, xmp=xmp)
        array = np.asarray(page.asarray())
    if not array.size:
        raise RaihaError(f"{file} holds no pixels; its directory is damaged.")
    if _layers(page) > 1:
        array = array[:, layer] if page.planarconfig == 2 and array.ndim == 4 else array[layer]
    if inks:
        # Pillow reads uncompressed ones askew where the orientation swaps the sides.
        return Page(array.transpose(1, 2, 0) if page.planarconfig == 2 else array, True, False, *known, xmp=xmp)
    samples, premultiplied, notices = _samples(file, page, array)
    return Page(samples, False, premultiplied, *known, notices, xmp)


def _layers(page: Any) -> int:
    """Of a volume, how many layers a directory holds; else 1."""
    return int(getattr(page, "imagedepth", 1) or 1)


def _full_pages(handle: Any) -> list[int]:
    """Which directories hold pictures of their own; the first one where all are said to be reduced."""
    found = []
    for frame in itertools.count():
        try:
            page = handle.pages[frame]
        except IndexError:
            break
        if frame >= _MOST_PAGES:
            break
        if not (getattr(page, "is_reduced", False) or getattr(page, "is_mask", False)):
            found.append(frame)
    return found or [0]


def _check(file: Path, page: Any) -> None:
    """Refuse what would take too much memory, by what the directory says, before anything is decoded."""
    height, width = int(page.imagelength), int(page.imagewidth)
    check_pixels(file, height, width)
    depth = max(1, -(-int(page.bitspersample) // 8))
    samples = int(page.samplesperpixel)
    tile = int(page.tilelength or 0) * int(page.tilewidth or 0) * samples * depth
    decoded = height * width * (samples * depth * _layers(page) + (USUAL if depth == 1 and page.photometric not in (*_GREY, _RGB) else 0))
    # Decoded, then made contiguous in at most four channels of at most four bytes, then worked on.
    check_memory(file, decoded + 3 * tile + height * width * (min(samples, 4) * min(depth, 4) * 2 + WORK))


def _samples(file: Path, page: Any, array: NDArray[Any]) -> tuple[NDArray[Any], bool, tuple[str, ...]]:
    """A page's samples `(H, W[, C])` as we keep them, whether its colours are multiplied by alpha, and what to say of them."""
    if page.planarconfig == 2 and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    if array.dtype.kind not in "fiu":
        raise RaihaError(f"{file} has samples of type {array.dtype}; save it with unsigned 8 or 16 bits or as floating point.")
    if page.photometric == _PALETTE:
        return _coloured(file, page, array), False, ()
    notices: tuple[str, ...] = ()
    if array.dtype.kind != "f":
        array, notices = unsigned(array, str(file), int(page.bitspersample))
    if page.photometric == 0:  # white is zero
        array = np.iinfo(array.dtype).max - array if array.dtype.kind == "u" else 1 - array
    extra = [int(e) for e in page.extrasamples]
    if array.ndim == 3:
        # A first extra channel is taken for alpha, also where the file does not say so; spot colours and the like are not kept.
        array = array[:, :, : (3 if page.photometric == _RGB else 1) + min(1, len(extra))]
    return array.astype(np.float32) if array.dtype.kind == "f" else array, extra[:1] == [1], notices


def _coloured(file: Path, page: Any, array: NDArray[Any]) -> NDArray[Any]:
    """A palette's colours, 8 bits each; some writers fill its 16-bit entries with 8-bit values."""
    colours = page.colormap
    if colours is None or array.ndim != 2 or array.dtype.kind != "u" or colours.shape[1] <= int(array.max(initial=0)):
        raise RaihaError(f"{file} has a damaged palette; save it as RGB.")
    eight = colours if colours.max() < 256 else colours >> 8
    return np.ascontiguousarray(eight.astype(np.uint8).T[array])


def write(part: Path, picture: Picture) -> None:
    """Write 8-bit, 16-bit or float samples with deflate compression, profile and EXIF; an EXIF block that TIFF cannot hold is left out."""
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
        extratags=[(_XMP, "B", len(picture.xmp), picture.xmp, True)] if picture.xmp else (),
    )
    if picture.exif:
        try:
            add_tiff_exif(part, picture.exif)
        except ValueError:
            warnings.warn("The EXIF block is damaged and was left out.", stacklevel=2)
