"""EXIF and XMP blocks: upright, and in TIFF files, where EXIF is spread over the page's own tags and directories of their own."""

from __future__ import annotations

import re
import struct
import warnings
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, TiffImagePlugin

ORIENTATION = 0x0112
EXIF_MARK = b"Exif\0\0"
# What Pillow's parser and writer raise on broken blocks.
_DAMAGE = (struct.error, ValueError, TypeError, KeyError, IndexError, SyntaxError, OSError, AttributeError, OverflowError)
_SUB_IFDS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
# Description, make, model, resolution, software, date, artist, copyright: all else in a page says how its own pixels lie.
DESCRIPTIVE = (270, 271, 272, 282, 283, 296, 305, 306, 315, 33432)


_XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|\s*>\s*))[2-8]""")
_FURTHER = (b"hdrgm:", b"Container:Directory", b"GCamera:MicroVideo", b"GCamera:MotionPhoto", b"apdi:AuxiliaryImageType")
"""What XMP says of gain maps, moving pictures and the like that lie behind a photo in its file."""


def kept_xmp(xmp: Any, orientation: int) -> bytes | None:
    """An XMP packet as it may go on, or None: upright like the pixels, and not one of pictures that are left behind.

    Args:
        xmp: what a decoder found.
        orientation: the EXIF orientation that was applied; where it is 1 not a byte changes.
    """
    if not isinstance(xmp, bytes) or b"<" not in xmp or any(word in xmp for word in _FURTHER):
        return None
    return xmp if orientation == 1 else _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)


def upright(exif: bytes) -> bytes:
    """The EXIF block with its orientation set to 1; every other byte stays, maker notes and thumbnail included.

    Args:
        exif: with or without the leading `Exif\\0\\0`; the result has it. A block that cannot be parsed comes back as it is.
    """
    head = _without_mark(exif)
    data = bytearray(head)
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order:
        try:
            (start,) = struct.unpack_from(order + "I", data, 4)
            (count,) = struct.unpack_from(order + "H", data, start)
            for at in range(start + 2, start + 2 + 12 * count, 12):
                tag, kind = struct.unpack_from(order + "HH", data, at)
                if tag == ORIENTATION:
                    struct.pack_into(order + ("I" if kind == 4 else "H"), data, at + 8, 1)
        except struct.error:
            return EXIF_MARK + head
    return EXIF_MARK + bytes(data)


def orientation_of(exif: bytes | None) -> int:
    """The orientation (1 to 8) that an EXIF block says, 1 where it says none or nonsense; a damaged block raises nothing."""
    head = _without_mark(exif or b"")
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order:
        try:
            (start,) = struct.unpack_from(order + "I", head, 4)
            (count,) = struct.unpack_from(order + "H", head, start)
            for at in range(start + 2, start + 2 + 12 * count, 12):
                tag, kind = struct.unpack_from(order + "HH", head, at)
                if tag == ORIENTATION:
                    (value,) = struct.unpack_from(order + ("I" if kind == 4 else "H"), head, at + 8)
                    return int(value) if 1 <= value <= 8 else 1
        except struct.error:
            return 1
    return 1


def sound(exif: bytes) -> bool:
    """Whether an EXIF block can be read: what is damaged is not handed on."""
    head = _without_mark(exif)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if order is None:
                return False
            (start,) = struct.unpack_from(order + "I", head, 4)
            (count,) = struct.unpack_from(order + "H", head, start)
            if start + 2 + 12 * count > len(head):
                return False
            block = Image.Exif()
            block.load(exif if exif.startswith(EXIF_MARK) else EXIF_MARK + exif)
            dict(block.items())
            for ifd in _SUB_IFDS:
                dict(block.get_ifd(ifd))
        except _DAMAGE:
            return False
    return True


def _without_mark(exif: bytes) -> bytes:
    return exif[len(EXIF_MARK) :] if exif.startswith(EXIF_MARK) else exif


def tiff_exif(file: Path) -> bytes | None:
    """The descriptive tags of a TIFF, with its Exif and GPS directories, as an EXIF block; None if it has none that can be read."""
    kept = Image.Exif()
    try:
        with file.open("rb") as stream:
            source = Image.Exif()
            source.load_from_fp(stream)
            kept.update({tag: value for tag, value in source.items() if tag in DESCRIPTIVE})
            for ifd in _SUB_IFDS:
                if values := dict(source.get_ifd(ifd)):
                    kept.get_ifd(ifd).update(values)
        return kept.tobytes() if len(kept) or any(kept.get_ifd(ifd) for ifd in _SUB_IFDS) else None
    except _DAMAGE:
        return None


def add_tiff_exif(path: Path, exif: bytes) -> None:
    """Give a classic TIFF file of one page the tags and directories of an EXIF block (maker notes excepted).

    The page's directory is written anew at the end of the file and the header points there: the pixels stay in place.

    Raises:
        ValueError: the block cannot be stored in a TIFF; the file is unchanged.
    """
    block = Image.Exif()
    with open(path, "r+b") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow says of damaged blocks what it leaves out
        header = file.read(8)
        order = "<" if header[:2] == b"II" else ">"
        directory = TiffImagePlugin.ImageFileDirectory_v2(header)
        file.seek(directory.next)
        directory.load(file)
        dict(directory.items())  # tags are decoded on access, and only those are written
        strips = directory[TiffImagePlugin.STRIPOFFSETS]
        file.seek(0, 2)
        end = file.tell()
        offset = end + end % 2
        try:
            block.load(exif)
            entries: dict[int, Any] = {tag: value for tag, value in block.items() if tag in DESCRIPTIVE}
            entries.update({int(ifd): dict(values) for ifd in _SUB_IFDS if (values := block.get_ifd(ifd))})
            for tag, value in entries.items():
                directory[tag] = value
            directory[TiffImagePlugin.STRIPOFFSETS] = (0,) * len(strips)
            data = bytearray(directory.tobytes(offset))
        except _DAMAGE as error:
            raise ValueError("the EXIF block is damaged") from error
        _put_strips(data, order, offset, strips)
        file.seek(end)
        file.write(b"\0" * (offset - end) + data)
        file.seek(4)
        file.write(struct.pack(order + "I", offset))


def _put_strips(directory: bytearray, order: str, offset: int, strips: tuple[int, ...]) -> None:
    """Restore where the strips lie: Pillow's writer takes for granted that the pixels follow the directory."""
    (count,) = struct.unpack_from(order + "H", directory, 0)
    for at in range(2, 2 + 12 * count, 12):
        if struct.unpack_from(order + "H", directory, at)[0] == TiffImagePlugin.STRIPOFFSETS:
            values_at = at + 8 if len(strips) == 1 else struct.unpack_from(order + "I", directory, at + 8)[0] - offset
            struct.pack_into(f"{order}{len(strips)}I", directory, values_at, *strips)
