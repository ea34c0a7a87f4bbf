"""The rows of a catalogue, its tables, and the checksum that each row carries."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .kinds import PHOTO
from .regions import Region

ID_LENGTH = 16
ALIVE = 2**62
"""`died` of what is in the index; of what is no more, the revision from which on it is not."""

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS roots (
    id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL, relative TEXT NOT NULL, links INTEGER NOT NULL,
    died INTEGER NOT NULL DEFAULT {ALIVE}, checksum INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS images (
    id INTEGER PRIMARY KEY AUTOINCREMENT, hash TEXT NOT NULL UNIQUE, width INTEGER NOT NULL, height INTEGER NOT NULL,
    kind TEXT NOT NULL, look BLOB NOT NULL, illumination BLOB NOT NULL, checksum INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS images_kind ON images(kind) WHERE kind <> '';
CREATE TABLE IF NOT EXISTS files (
    root INTEGER NOT NULL REFERENCES roots(id), path TEXT NOT NULL, born INTEGER NOT NULL, died INTEGER NOT NULL DEFAULT {ALIVE},
    size INTEGER NOT NULL, mtime INTEGER NOT NULL, image INTEGER REFERENCES images(id), error TEXT, checksum INTEGER NOT NULL,
    PRIMARY KEY (root, path, born)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_image ON files(image);
CREATE INDEX IF NOT EXISTS files_error ON files(died) WHERE error IS NOT NULL;
CREATE TABLE IF NOT EXISTS regions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, image INTEGER NOT NULL REFERENCES images(id),
    x0 REAL NOT NULL, y0 REAL NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL, content BLOB NOT NULL, checksum INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS regions_image ON regions(image);
CREATE TABLE IF NOT EXISTS removed (region INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Distorted(ValueError):
    """A row does not fit its checksum or has a blob of the wrong length; the message names it."""


@dataclass(frozen=True)
class Root:
    """A gallery folder: its absolute path when it was added, its path relative to the index folder, may links lead out of it."""

    id: int
    path: str
    relative: str
    links: bool = False


@dataclass(frozen=True)
class FileRow:
    """A file of the gallery: path relative to its root, and either its image's row or why it could not be read.

    With neither, the user took it out of the index, and updates leave it out.
    """

    root: int
    path: str
    size: int
    mtime: int
    image: int | None
    error: str | None


@dataclass(frozen=True)
class ImageRow:
    """A photo: row, content hash, size in pixels, kind (see `kinds`), signature (see `lookalike`), illumination descriptor."""

    id: int
    hash: str
    width: int
    height: int
    kind: str
    signature: bytes
    illumination: NDArray[np.float32]


@dataclass(frozen=True)
class RegionRow:
    """A region of a photo and its content vector."""

    id: int
    image: int
    box: Region
    content: NDArray[np.float32]


@dataclass(frozen=True)
class Entry:
    """What the builder hands over for one file: a new photo, a known one (only `hash`), or an error."""

    root: int
    path: str
    size: int
    mtime: int
    hash: str | None = None
    error: str | None = None
    width: int = 0
    height: int = 0
    signature: bytes = b""
    illumination: NDArray[np.float32] | None = None
    content: NDArray[np.float32] | None = None
    kind: str = PHOTO
    boxes: tuple[Region, ...] = ()
    """Of the regions whose vectors are in `content`."""


def checksum(*parts: object) -> int:
    """CRC-32 of numbers, texts and bytes in this order; text and None are told apart from anything else."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part if isinstance(part, bytes) else repr(part).encode("utf-8", "backslashreplace"), crc)
    return crc


def region_checksum(image: int, box: Region, content: bytes) -> int:
    """Of a region's row."""
    return zlib.crc32(content, zlib.crc32(struct.pack("<q4d", image, *box)))


FILE_COLUMNS = "root, path, size, mtime, image, error, checksum"
# `look` is the signature, under the name that indexes have had from the start.
IMAGE_COLUMNS = "id, hash, width, height, kind, look, illumination, checksum"
REGION_COLUMNS = "id, image, x0, y0, x1, y1, content, checksum"
ROOT_COLUMNS = "id, path, relative, links, checksum"


def root_of(row: tuple[int, str, str, int, int]) -> Root:
    """A root from its columns.

    Raises:
        Distorted: it is not as it was written.
    """
    if checksum(*row[1:4]) != row[4]:
        raise Distorted(f"gallery {row[0]} is not as it was written")
    return Root(row[0], row[1], row[2], bool(row[3]))


def file_of(row: tuple[int, str, int, int, int | None, str | None, int]) -> FileRow:
    """A file from its columns.

    Raises:
        Distorted: it is not as it was written.
    """
    if checksum(*row[:6]) != row[6]:
        raise Distorted(f"the file {row[1]!r} is not as it was written")
    return FileRow(*row[:6])


def image_of(row: tuple[int, str, int, int, str, bytes, bytes, int], signature: int, light: int) -> ImageRow:
    """A photo from its columns; `signature` bytes of signature, `light` numbers of illumination.

    Raises:
        Distorted: it is not as it was written, or something is too long or too short.
    """
    if checksum(*row[1:7]) != row[7]:
        raise Distorted(f"photo {row[0]} is not as it was written")
    if len(row[5]) != signature or len(row[6]) != 4 * light:
        raise Distorted(f"the light of photo {row[0]} has the wrong length")
    return ImageRow(*row[:6], np.frombuffer(row[6], np.float32))


def region_of(row: tuple[int, int, float, float, float, float, bytes, int], dim: int) -> RegionRow:
    """A region from its columns; `dim` numbers of content.

    Raises:
        Distorted: it is not as it was written, or its vector is too long or too short.
    """
    box = (row[2], row[3], row[4], row[5])
    if not isinstance(row[6], bytes) or region_checksum(row[1], box, row[6]) != row[7]:
        raise Distorted(f"region {row[0]} is not as it was written")
    if len(row[6]) != 2 * dim:
        raise Distorted(f"the vector of region {row[0]} has the wrong length")
    return RegionRow(row[0], row[1], box, np.frombuffer(row[6], np.float16).astype(np.float32))
