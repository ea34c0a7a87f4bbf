"""Pictures from files without losing depth, alpha, EXIF or the colour profile."""

from __future__ import annotations

import contextlib
import functools
import io
import numbers
import os
import stat
import struct
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from ..errors import RaihaError
from . import bmp, direct, png, tiff
from .limits import MAX_PIXELS, PER_PIXEL, USUAL, WORK, check_memory, check_pixels, too_many_pixels
from .metadata import ORIENTATION, kept_xmp, orientation_of, sound, tiff_exif, upright
from .picture import Picture, as_path, from_array
from .spaces import inks_to_srgb, space_of

_FORMATS = ["PNG", "JPEG", "GIF", "WEBP", "BMP", "DIB", "AVIF", "HEIF", "PPM", "TGA", "JPEG2000", "PSD", "ICO", "PCX", "SGI", "QOI"]
"""What Pillow may read for us: pictures only, none of the formats that start other programs."""
_ICON = b"\0\0\1\0"
_JPEG = b"\xff\xd8\xff"
_bomb_lock = threading.Lock()


@functools.cache
def pillow_formats() -> list[str]:
    """The formats that Pillow reads for us, of those that it has here; TIFF goes ways of its own."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def plain_format(head: bytes) -> list[str]:
    """PNG or JPEG, by a file's first bytes, and nothing for other formats: to look for more than one Pillow imports dozens of modules."""
    return ["PNG"] if head.startswith(png.SIGNATURE) else ["JPEG"] if head.startswith(_JPEG) else []


@contextlib.contextmanager
def large_pictures() -> Iterator[None]:
    """Photos of 200 megapixels are real; Pillow's limit is for web servers. It is put back, since it is global."""
    with _bomb_lock:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow warns above this and refuses above twice as many
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def read_image(path: str | os.PathLike[str], page: int | None = None, *, mask: bool = False) -> Picture:
    """Read a picture in its own depth, upright.

    8-bit and 16-bit PNG, 8-bit, 16-bit and float TIFF, JPEG, WebP and what else Pillow reads. Grey becomes RGB; CMYK and
    Lab are converted to sRGB by their profile where there is one. What the user should know is in the picture's `notices`.

    Args:
        page: which page or frame of a file of several, from 1; None takes the first and says so.
        mask: the picture is a mask: its colours mean nothing, and where there are fewer pages than `page` its first serves.

    Raises:
        RaihaError: the file is missing, not a picture, truncated, larger than the memory, or holds NaN or infinite values.
    """
    file = as_path(path)
    if page is not None and (not isinstance(page, numbers.Integral) or page < 1):
        shown = page if isinstance(page, int | str) else f"that is a {type(page).__name__}"
        raise RaihaError(f"There is no page {shown!s:.40}; pages count from 1.")
    try:
        if not _is_there(file):
            raise RaihaError(f"{file} does not exist or is not a file; check the path.")
        with large_pictures(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = _read(file, page, mask)
    except RaihaError:
        raise
    except PermissionError:
        raise RaihaError(f"{file} cannot be read: no permission; change its rights or copy it.") from None
    except Image.DecompressionBombError:
        raise too_many_pixels(file) from None
    except MemoryError:
        raise RaihaError(f"{file} asks for more memory than there is; it is damaged, or must be scaled down first.") from None
    except Exception as error:  # decoders raise whatever they like on hostile or broken input
        if file.suffix.lower() in (".heic", ".heif") and "HEIF" not in pillow_formats():
            raise RaihaError(f"{file} is a HEIC picture, which cannot be read here; save it as JPEG or PNG.") from None
        reason = str(error).splitlines()[0] if str(error).strip() else type(error).__name__
        reason = "its beginning is not that of a known format" if isinstance(error, UnidentifiedImageError) else reason
        raise RaihaError(f"{file} cannot be read as a picture ({reason[:120]}); it may be truncated or of another format.") from None
    return replace(picture, notices=()) if mask and page is not None else picture


def _is_there(file: Path) -> bool:
    """Whether this is a regular file; raises PermissionError where that cannot be told."""
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except PermissionError:
        raise
    except (OSError, ValueError):  # also names that are too long, or go in circles
        return False


def _read(file: Path, page: int | None, mask: bool) -> Picture:
    if tiff.is_tiff(file):
        return _read_tiff(file, page, mask)
    with file.open("rb") as stream:
        head = stream.read(32)
    if head.startswith(png.SIGNATURE):
        return _read_png(file, page, mask)
    if head[8:12] == b"WEBP":  # its decoder takes the memory when the file is opened
        _check(file, "WEBP", *webp_size(head))
    if head.startswith(b"BM") and (fields := _bit_fields(file)) is not None:
        return _finished(file, fields, None, None, mask, ())
    if head.startswith(_ICON):  # so does that of icons
        for height, width in _icon_sizes(file):
            _check(file, "ICO", height, width)
    with Image.open(file, formats=plain_format(head) or pillow_formats()) as image:
        large = direct.serves(image, file)
        _check(file, direct.KIND if large else image.format, image.height, image.width)
        notices = _turn_to(file, image, page, mask)
        samples, icc, block, xmp = (
            direct.samples(file, image) if large else _samples(image),
            *map(image.info.get, ("icc_profile", "exif", "xmp")),
        )
    return _finished(file, samples, icc, block, mask, notices, xmp=xmp)


def _bit_fields(file: Path) -> NDArray[Any] | None:
    """A BMP's samples where its colours lie in bit fields that Pillow does not know."""
    try:
        with Image.open(file, formats=["BMP"]):
            return None
    except OSError as error:
        if "bitfields" not in str(error):
            return None
    with file.open("rb") as stream:
        width, height = struct.unpack_from("<ii", stream.read(26), 18)
    _check(file, "BMP", abs(height), abs(width))
    return bmp.bit_fields(file)


def _read_tiff(file: Path, page: int | None, mask: bool) -> Picture:
    found = tiff.read(file, page or 1)
    if page is not None and page > found.pages:
        if not mask:
            raise _no_page(file, page, found.pages)
        found = tiff.read(file)
    notices = (*several(file, found.pages, page), *([] if mask else found.notices))
    exif = tiff_exif(file)
    if found.samples is not None and found.inks and found.samples.dtype == np.uint16:
        return _finished(file, inks_to_srgb(found.samples, found.icc), None, exif, mask, notices, found.orientation, found.xmp)
    if found.samples is not None and found.inks:
        print_colours = Image.fromarray(np.ascontiguousarray(found.samples), "CMYK")
        print_colours.info["icc_profile"] = found.icc
        return _finished(file, _samples(print_colours), None, exif, mask, notices, found.orientation, found.xmp)
    if found.samples is not None:
        picture = _finished(file, found.samples, found.icc, exif, mask, notices, found.orientation, found.xmp)
        return replace(picture, premultiplied=found.premultiplied)
    with Image.open(file, formats=["TIFF"]) as image:
        image.seek(found.frame)
        for key in ("xmp", "XML:com.adobe.xmp"):  # an orientation in XMP alone turns nothing
            image.info.pop(key, None)
        samples, icc = _samples(image), image.info.get("icc_profile")
        # Pillow turns some kinds of TIFF while it loads them, and then forgets how they lay.
        left = 1 if getattr(image, "tag_v2", {}).get(ORIENTATION, 1) != found.orientation else found.orientation
    picture = _finished(file, samples, icc, exif, mask, notices, left)
    return replace(picture, orientation=found.orientation, xmp=kept_xmp(found.xmp, found.orientation))


def _read_png(file: Path, page: int | None, mask: bool) -> Picture:
    check_memory(file, 2 * file.stat().st_size)
    contents = png.take_apart(file.read_bytes(), animation=page is not None)
    check_pixels(file, contents.height, contents.width)
    notices = several(file, contents.frames, page)
    deep = None
    if contents.depth == 16:
        check_memory(file, contents.height * contents.width * (3 * 8 + WORK))
        deep = png.deep_samples(contents)
    if deep is None:
        with Image.open(io.BytesIO(contents.pixels), formats=["PNG"]) as image:
            if page is not None:
                notices = _turn_to(file, image, page, mask)
            large = page is None and direct.serves(image, file)
            _check(file, direct.KIND if large else image.format, image.height, image.width)
            deep = direct.samples(file, image, contents.pixels) if large else _samples(image)
    try:
        icc = None if mask else png.profile_of(contents)
    except ValueError as error:
        icc, notices = None, (*notices, f"{file}: {error}, so its colours were read as sRGB.")
    picture = _finished(file, deep, icc, png.exif_of(contents), mask, notices, xmp=png.xmp_of(contents))
    kept = [(k, c) for k, c in contents.kept if k != b"iCCP" or picture.icc is not None]
    if picture.orientation != 1:  # what it says of the orientation is true no more
        kept = [(k, c) for k, c in kept if not png.is_xmp(k, c)]
    return replace(picture, chunks=tuple(kept))


def _turn_to(file: Path, image: Image.Image, page: int | None, mask: bool) -> tuple[str, ...]:
    """Choose a frame; says what of the file is left out."""
    frames = int(getattr(image, "n_frames", 1))
    if image.format == "PSD":  # its frames are layers; what opens is the flat picture
        return (f"{file} holds {frames} layers; its flat picture was read.",) if frames > 1 else ()
    if image.format == "MPO":
        return (f"{file} holds {frames} pictures: a preview, a second eye or a gain map lies behind the photo; only the photo is kept.",)
    if page is not None and page > frames:
        if not mask:
            raise _no_page(file, page, frames)
        page = 1
    if frames > 1:
        image.seek((page or 1) - 1)
    return several(file, frames, page)


def several(file: Path, frames: int, page: int | None) -> tuple[str, ...]:
    """What to say of a file of several pictures of which none was chosen."""
    if frames < 2 or page is not None:
        return ()
    return (f"{file} holds {frames} frames or pages; the first was read, --page N (page=N) chooses another.",)


def _no_page(file: Path, page: int, frames: int) -> RaihaError:
    return RaihaError(f"{file} has no page {page}; it holds {frames}.")


def _check(file: Path, kind: str | None, height: int, width: int) -> None:
    check_pixels(file, height, width)
    check_memory(file, height * width * (PER_PIXEL.get(kind or "", USUAL) + WORK))


def webp_size(head: bytes) -> tuple[int, int]:
    """Height and width of a WebP's canvas by the first bytes of its file (RFC 9649); 0 where they are damaged."""

    def number(start: int, end: int) -> int:
        return int.from_bytes(head[start:end], "little")

    if head[12:16] == b"VP8X":
        return number(27, 30) + 1, number(24, 27) + 1
    if head[12:16] == b"VP8L":
        return (number(21, 25) >> 14 & 0x3FFF) + 1, (number(21, 25) & 0x3FFF) + 1
    return number(28, 30) & 0x3FFF, number(26, 28) & 0x3FFF


def _icon_sizes(file: Path) -> Iterator[tuple[int, int]]:
    """Height and width of each picture of an icon, by their own headers: the directory holds but one byte for a side."""
    with file.open("rb") as stream:
        (count,) = struct.unpack("<4xH", stream.read(6).ljust(6, b"\0"))
        starts = [int.from_bytes(entry[12:16], "little") for _ in range(count) if len(entry := stream.read(16)) == 16]
        for start in starts:
            stream.seek(start)
            head = stream.read(24).ljust(24, b"\0")
            if head.startswith(png.SIGNATURE):
                yield struct.unpack(">II", head[16:24])[::-1]
            else:  # of a bitmap's height one half is that of its mask
                width, height = struct.unpack("<ii", head[4:12])
                yield abs(height) // 2, abs(width)


def _finished(
    file: Path,
    samples: NDArray[Any],
    icc: Any,
    exif: Any,
    mask: bool,
    notices: tuple[str, ...],
    orientation: int | None = None,
    xmp: Any = None,
) -> Picture:
    """The picture, upright, with what of its metadata is sound; `orientation` None takes that of the EXIF block."""
    picture = from_array(samples, str(file), thin=mask)
    said = list(notices) + ([] if mask else list(picture.notices))
    block = exif if isinstance(exif, bytes) and exif else None
    if orientation is None:
        orientation = orientation_of(block)
    if block and not sound(block):
        block = None
        said += [] if mask else [f"{file}: its EXIF block is damaged and was left out."]
    profile = None if mask else _profile(icc, picture.grey)
    if icc and not mask and profile is None:
        said.append(f"{file}: its colour profile is damaged or not one of {'grey' if picture.grey else 'RGB'} pictures and was left out.")
    alpha = None if picture.alpha is None else turned(picture.alpha, orientation)
    if mask and picture.grey:  # three channels that are one in memory, and stay so
        grey = turned(picture.rgb[:, :, :1], orientation)
        rgb = np.broadcast_to(grey, (*grey.shape[:2], 3))
    else:
        rgb = turned(picture.rgb, orientation)
    return replace(
        picture,
        rgb=rgb,
        alpha=alpha,
        icc=profile,
        exif=upright(block) if block else None,
        orientation=orientation,
        notices=tuple(said),
        xmp=kept_xmp(xmp, orientation),
    )


def from_pil(image: Image.Image, name: str = "The picture") -> Picture:
    """A picture from a PIL image of any mode, its pixels as they lie: an EXIF orientation is not applied.

    Raises:
        RaihaError: no pixels, NaN or infinite values, or 32-bit integers.
    """
    exif = image.info.get("exif")
    try:
        image = image.copy() if image.mode in ("CMYK", "LAB") else image  # their profile is used up
        picture = from_array(_samples(image), name)
    except RaihaError:
        raise
    except Exception as error:  # pixels are read when they are wanted, by decoders that raise whatever they like
        reason = str(error).partition("\n")[0][:120] or type(error).__name__
        raise RaihaError(f"{name} cannot be read ({reason}); it may be truncated or closed.") from None
    icc = _profile(image.info.get("icc_profile"), picture.grey)
    return replace(picture, icc=icc, exif=exif if isinstance(exif, bytes) else None)


def _profile(icc: Any, grey: bool) -> bytes | None:
    """The profile if it is one for such samples; another would make viewers refuse the file, or show it wrongly."""
    if not isinstance(icc, bytes) or not icc:
        return None
    try:
        space_of(icc, grey)
    except ValueError:
        return None
    return icc


def _samples(image: Image.Image) -> NDArray[Any]:
    """The samples of any mode as `(H, W)` or `(H, W, C)`; palettes become RGB, print and Lab colours sRGB."""
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":
        array = np.asarray(image)
        if array.min() < 0 or array.max() > 65535:
            raise RaihaError("The picture has negative or 32-bit samples; save it with unsigned 8 or 16 bits or as floating point.")
        return array.astype(np.uint16)
    if image.mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        return np.asarray(_to_srgb(image))
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    elif "transparency" in image.info and image.mode in ("1", "L", "RGB"):
        image = image.convert("RGBA" if image.mode == "RGB" else "LA")
    elif image.mode not in ("1", "L", "LA", "RGB", "RGBA", "F"):
        image = image.convert({"RGBa": "RGBA", "La": "LA"}.get(image.mode, "RGB"))
    return np.asarray(image)


def _to_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.pop("icc_profile", None)  # it describes the old space
    if image.mode == "LAB" or (profile and image.mode == "CMYK"):
        with contextlib.suppress(ImageCms.PyCMSError, OSError, TypeError):
            lab = image.mode == "LAB"
            source = ImageCms.createProfile("LAB") if lab else ImageCms.getOpenProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
    return image.convert("RGB")


def turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply an EXIF orientation (1 to 8)."""
    if orientation in (2, 3, 4):
        array = {2: array[:, ::-1], 3: array[::-1, ::-1], 4: array[::-1]}[orientation]
    elif orientation in (5, 6, 7, 8):
        across = array.swapaxes(0, 1)
        array = {5: across, 6: across[:, ::-1], 7: across[::-1, ::-1], 8: across[::-1]}[orientation]
    return np.ascontiguousarray(array)
