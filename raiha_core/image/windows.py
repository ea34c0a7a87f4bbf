"""Very large pictures by windows: their rows are read where they are needed, from the strips and tiles of a TIFF or from memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import RaihaError
from . import direct
from .files import large_pictures, plain_format
from .limits import check_memory
from .masks import FLOAT_WHITE, JPEG_NOISE, WHITE, Mask
from .metadata import ORIENTATION
from .picture import Picture, full_scale
from .tiff import is_tiff

MOST = 2**32
"""Pixels of a TIFF that is read by windows; more are a mistake or an attack."""
BAND = 2**23
"""Samples that are worked on at a time."""
TILE = 512
"""Sides of the tiles that are written."""
_GREY, _RGB, _XMP = (0, 1), 2, 700
_CLASSIC = 2**32 - 2**25
"""Bytes of samples up to which a TIFF is a classic one: compressed, they may take a little more."""


class Rows(Protocol):
    """A picture that is read by rows.

    Attributes:
        shape: (height, width, channels), 1 or 3 of them.
        dtype: uint8, uint16 or float32.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """See the class."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """See the class."""
        ...

    def read(self, top: int, bottom: int, left: int, right: int) -> NDArray[Any]:
        """`(bottom - top, right - left, channels)`, to be looked at only."""
        ...


class ArrayRows:
    """A picture in memory, `(H, W, C)`."""

    def __init__(self, array: NDArray[Any]):
        self.array = array
        self.shape = (array.shape[0], array.shape[1], array.shape[2])
        self.dtype = array.dtype

    def read(self, top: int, bottom: int, left: int, right: int) -> NDArray[Any]:
        """See `Rows`; a view."""
        return self.array[top:bottom, left:right]


class TiffRows:
    """The first picture of a TIFF or BigTIFF, decoded strip by strip or tile by tile; one row of them is kept.

    Args:
        handle: an open `tifffile.TiffFile`.
        page: one of its pages, for which `by_windows` is true.
    """

    def __init__(self, handle: Any, page: Any):
        self._file, self._page, self._path = handle.filehandle, page, handle.filehandle.path
        self.shape = (int(page.imagelength), int(page.imagewidth), int(page.samplesperpixel))
        self.dtype = np.dtype(page.dtype).newbyteorder("=")
        self._height = int(page.tilelength if page.is_tiled else page.rowsperstrip)
        self._width = int(page.tilewidth if page.is_tiled else page.imagewidth)
        self._across = -(-self.shape[1] // self._width)
        self._kept: tuple[int, dict[int, NDArray[Any]]] = (-1, {})

    def read(self, top: int, bottom: int, left: int, right: int) -> NDArray[Any]:
        """See `Rows`."""
        out = np.empty((bottom - top, right - left, self.shape[2]), self.dtype)
        for line in range(top // self._height, -(-bottom // self._height)):
            for column in range(left // self._width, -(-right // self._width)):
                tile, y, x = self._tile(line, column), line * self._height, column * self._width
                y0, y1 = max(top, y), min(bottom, y + tile.shape[0])
                x0, x1 = max(left, x), min(right, x + tile.shape[1])
                out[y0 - top : y1 - top, x0 - left : x1 - left] = tile[y0 - y : y1 - y, x0 - x : x1 - x]
        return out

    def _tile(self, line: int, column: int) -> NDArray[Any]:
        if self._kept[0] != line:
            self._kept = line, {}
        tiles = self._kept[1]
        if column not in tiles:
            number = line * self._across + column
            try:
                self._file.seek(self._page.dataoffsets[number])
                data = self._file.read(self._page.databytecounts[number])
                decoded, _, (_, height, width, _) = self._page.decode(data, number, jpegtables=self._page.jpegtables)
            except Exception as error:  # decoders raise whatever they like on hostile or broken input
                reason = str(error).splitlines()[0] if str(error).strip() else type(error).__name__
                raise RaihaError(f"{self._path} cannot be read as a picture ({reason[:120]}); it may be truncated.") from None
            if decoded is None:  # a hole
                decoded = np.zeros((1, height, width, self.shape[2]), self.dtype)
            tile = decoded[0, :height, :width]
            tiles[column] = np.iinfo(tile.dtype).max - tile if self._page.photometric == 0 else tile
        return tiles[column]


def by_windows(page: Any) -> bool:
    """Whether a page of a TIFF can be read by windows: opaque grey or RGB of 8 or 16 bits, upright, in pieces that are small."""
    samples, rows = int(page.samplesperpixel), int(page.tilelength if page.is_tiled else page.rowsperstrip)
    width = int(page.tilewidth if page.is_tiled else page.imagewidth)
    plain = (page.photometric in _GREY and samples == 1) or (page.photometric == _RGB and samples == 3)
    depth = (str(page.dtype), page.bitspersample) in (("uint8", 8), ("uint16", 16))
    layout = page.planarconfig == 1 and int(getattr(page, "imagedepth", 1) or 1) == 1 and page.tags.valueof(274) in (None, 1)
    return bool(plain and depth and layout and len(page.extrasamples) == 0 and rows * width * samples <= BAND * 4)


def check_size(file: Path, page: Any) -> None:
    """Refuse a page that claims more pixels than there can be, or whose bands would not fit into the memory.

    Raises:
        RaihaError: says which.
    """
    pixels = int(page.imagelength) * int(page.imagewidth)
    if pixels > MOST:
        raise RaihaError(f"{file} has more than {MOST // 10**6} megapixels; cut it into pieces first.")
    depth = np.dtype(page.dtype).itemsize * int(page.samplesperpixel)
    # Rows of tiles of the source and of the result, and what is computed from a band.
    line = int(page.imagewidth) * (int(page.tilelength if page.is_tiled else page.rowsperstrip) + 3 * TILE)
    check_memory(file, line * depth + BAND * 60)


class MaskRows:
    """A mask that is read by rows, in [0, 1]; its brightest value is white. Colours count by their brightest channel.

    Args:
        rows: any number of channels.
        noisy: it was stored with losses: what is nearly black or white becomes so.
        notices: what is known already.

    Attributes:
        notices: what the user should know.
    """

    def __init__(self, rows: Rows, noisy: bool = False, notices: tuple[str, ...] = ()):
        self._rows, self._noisy, self.notices = rows, noisy, notices
        self.size = rows.shape[:2]
        self._share = 1.0
        self._white = full_scale(np.empty(0, rows.dtype))
        top = max(float(band.max()) for _, band in self.bands())
        if rows.dtype.kind == "f" and float(most := max(r.max() for r in self._samples())) > FLOAT_WHITE:
            self._white = float(most)
            self.notices += (f"The mask's brightest value is {most:.3g}; it was taken for white.",)
        elif 0 < top < 1:
            self._share = top
            if top < WHITE:
                self.notices += (f"The mask's brightest value is {top:.2f} of white; it was taken for white.",)

    def read(self, top: int, bottom: int, left: int = 0, right: int | None = None) -> Mask:
        """`(bottom - top, right - left)`."""
        samples = self._rows.read(top, bottom, left, self.size[1] if right is None else right)
        mask: Mask = samples.max(2).astype(np.float32)
        mask /= np.float32(self._white)
        np.clip(mask, 0, 1, out=mask)
        if self._share < 1:
            mask /= np.float32(self._share)
        if self._noisy:
            mask[mask < JPEG_NOISE] = 0
            mask[mask > 1 - JPEG_NOISE] = 1
        return mask

    def _samples(self) -> Iterator[NDArray[Any]]:
        for top, bottom in bands(*self.size):
            yield self._rows.read(top, bottom, 0, self.size[1])

    def bands(self) -> Iterator[tuple[int, Mask]]:
        """All rows, by bands, with the first row of each."""
        for top, bottom in bands(self.size[0], self.size[1]):
            yield top, self.read(top, bottom)


def bands(height: int, width: int, whole: int = 1) -> Iterator[tuple[int, int]]:
    """Bands of rows, (top, bottom), of about `BAND` samples of three channels; all but the last a multiple of `whole` rows."""
    step = max(1, BAND // (3 * width) // whole) * whole
    for top in range(0, height, step):
        yield top, min(top + step, height)


class Window:
    """A rectangle of a picture that looks like an array to those who read it by rows: `window[rows, columns]` is a smaller one,
    `window[rows]` an array.

    Args:
        read: gives rows and columns, as `Rows.read`.
        shape: of the rectangle; `(h, w, C)` or `(h, w)`.
        dtype: of the samples.
        at: its first row and column.
    """

    def __init__(self, read: Callable[..., NDArray[Any]], shape: tuple[int, ...], dtype: Any, at: tuple[int, int] = (0, 0)):
        self._read, self.shape, self.dtype, self._at = read, shape, np.dtype(dtype), at
        self.ndim = len(shape)

    def __getitem__(self, key: Any) -> Any:
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        top, bottom, _ = rows.indices(self.shape[0])
        left, right, _ = columns.indices(self.shape[1])
        y, x = self._at
        if isinstance(key, tuple):
            return Window(self._read, (bottom - top, right - left, *self.shape[2:]), self.dtype, (y + top, x + left))
        return self._read(y + top, y + bottom, x + left, x + right)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        array: NDArray[Any] = self[:]
        return array if dtype is None else array.astype(dtype)


def kind_of(file: Path) -> tuple[int, bool]:
    """How many pixels a TIFF, PNG or JPEG says that it has, and whether it is opaque; 0 for others and for what cannot be read."""
    from PIL import Image

    if not os.path.isfile(file):  # the opening of a pipe waits for ever
        return 0, False
    try:
        if is_tiff(file):
            import tifffile

            with tifffile.TiffFile(file) as handle:
                page: Any = handle.pages[0]
                return int(page.imagelength) * int(page.imagewidth), not page.extrasamples
        with file.open("rb") as stream:
            formats = plain_format(stream.read(32))
        if not formats:
            return 0, False
        with large_pictures(), Image.open(file, formats=formats) as image:
            opaque = "transparency" not in image.info and image.mode not in ("LA", "PA", "RGBA")
            return image.width * image.height, opaque
    except Exception:  # whoever reads it says what is wrong with it
        return 0, False


def plane_of_mask(file: Path) -> tuple[NDArray[Any], bool] | None:
    """A mask `(H, W, C)` uint8 in a PNG or JPEG of a plain kind, and whether it was stored with losses; None for other files.

    Raises:
        RaihaError: it would not fit into the memory, or is damaged.
    """
    from PIL import Image

    if not os.path.isfile(file):
        return None
    with file.open("rb") as stream:
        head = stream.read(32)
    formats = plain_format(head)
    if not formats:
        return None
    with large_pictures(), Image.open(file, formats=formats) as image:
        if image.getexif().get(ORIENTATION, 1) != 1 or "transparency" in image.info or (image.format == "PNG" and head[24] == 16):
            return None
        check_memory(file, image.width * image.height * (2 if image.mode in ("1", "P") else len(image.mode)) + file.stat().st_size)
        if image.mode == "1":
            return np.asarray(image.convert("L"))[:, :, None], False
        if image.mode == "P":
            palette = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3).max(1)
            return np.pad(palette, (0, 256 - len(palette)))[np.asarray(image)][:, :, None], False
        if image.mode not in ("L", "RGB") or image.format not in ("PNG", "JPEG"):
            return None
        plane = direct.samples(file, image)
        return plane.reshape(*plane.shape[:2], -1), image.format == "JPEG"


def write_tiles(part: Path, tops: Iterator[tuple[int, NDArray[Any]]], rows: Rows, template: Picture, tags: dict[int, Any]) -> None:
    """Write a TIFF, or a BigTIFF where it may grow beyond 4 GB, tile by tile as its bands come.

    Args:
        part: a file to be filled.
        tops: bands of `TILE` rows or a multiple, `(n, W, 3)`, each with its first row.
        rows: of the source, for size and type.
        template: for profile and XMP.
        tags: descriptive tags, by their codes.
    """
    import tifffile

    height, width, channels = rows.shape

    def tiles() -> Iterator[NDArray[Any]]:
        for _, band in tops:
            for top in range(0, len(band), TILE):
                for left in range(0, width, TILE):
                    piece = band[top : top + TILE, left : left + TILE, :channels]
                    full = np.zeros((TILE, TILE, channels), rows.dtype)
                    full[: piece.shape[0], : piece.shape[1]] = piece
                    yield full[:, :, 0] if channels == 1 else full

    x, y = tags.get(282), tags.get(283)
    tifffile.imwrite(
        part,
        tiles(),
        shape=(height, width) if channels == 1 else (height, width, channels),
        dtype=rows.dtype,
        bigtiff=height * width * channels * rows.dtype.itemsize > _CLASSIC,
        photometric="minisblack" if channels == 1 else "rgb",
        planarconfig=None if channels == 1 else "contig",
        tile=(TILE, TILE),
        compression="zlib",
        iccprofile=template.icc,
        software=tags.get(305) or False,
        description=tags.get(270),
        datetime=tags.get(306),
        resolution=(x, y) if x and y else None,
        resolutionunit=tags.get(296),
        metadata=None,
        extratags=[
            *((code, "s", 0, tags[code], True) for code in (271, 272, 315, 33432) if code in tags),
            *([(_XMP, "B", len(template.xmp), template.xmp, True)] if template.xmp else []),
        ],
    )
