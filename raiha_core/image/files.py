"""Pictures from and to files without losing depth, alpha, EXIF or the colour profile."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from ..errors import RaihaError
from . import png, tiff
from .picture import Picture, from_array, to_8_bit

MAX_PIXELS = 1_000_000_000
READABLE = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".avif")
WRITABLE = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")
_bomb_lock = threading.Lock()


@contextlib.contextmanager
def _large_pictures() -> Iterator[None]:
    """Photos of 200 megapixels are real; Pillow's limit is for web servers. It is put back, since it is global."""
    with _bomb_lock:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = MAX_PIXELS
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def read_image(path: str | os.PathLike[str]) -> Picture:
    """Read a picture in its own depth, upright.

    8-bit and 16-bit PNG, 8-bit, 16-bit and float TIFF, JPEG, WebP and what else Pillow reads. Grey becomes RGB; CMYK and
    Lab are converted to sRGB by their profile where there is one.

    Raises:
        RaihaError: the file is missing, not a picture, truncated, animated or holds NaN or infinite values.
    """
    file = Path(path)
    if not file.is_file():
        raise RaihaError(f"{file} does not exist or is not a file; check the path.")
    try:
        with _large_pictures(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file) as image:
                if getattr(image, "n_frames", 1) > 1:
                    raise RaihaError(f"{file} holds {getattr(image, 'n_frames', 0)} frames or pages; extract the one you want and give that.")
                picture = _decode(file, image)
                exif = image.getexif()
                orientation = int(exif.pop(ExifTags.Base.Orientation, 1) or 1)
                icc = image.info.get("icc_profile") if picture.icc is None else picture.icc
                block = exif.tobytes() if len(exif) else None
    except RaihaError:
        raise
    except MemoryError:
        raise RaihaError(f"{file} is too large for this machine's memory; scale it down first.") from None
    except Exception as error:  # decoders raise whatever they like on hostile or broken input
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RaihaError(f"{file} cannot be read as a picture ({reason[:120]}); it may be truncated or of another format.") from None
    alpha = None if picture.alpha is None else _upright(picture.alpha, orientation)
    return replace(picture, rgb=_upright(picture.rgb, orientation), alpha=alpha, icc=icc or None, exif=block)


def _decode(file: Path, image: Image.Image) -> Picture:
    array: NDArray[Any] | None = None
    if image.format == "PNG":
        array = png.read_deep(file)
    elif image.format == "TIFF":
        array = tiff.read_deep(file)
    if array is not None:
        return from_array(array, str(file))
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        return from_array(np.clip(np.asarray(image), 0, 65535).astype(np.uint16), str(file))
    if image.mode == "F":
        return from_array(np.asarray(image), str(file))
    if image.mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        return from_array(np.asarray(_to_srgb(image)), str(file))
    if image.mode in ("P", "PA") or "transparency" in image.info:
        image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    elif image.mode not in ("1", "L", "LA", "RGB", "RGBA"):
        image = image.convert("RGBA" if image.mode in ("RGBa", "La") else "RGB")
    array = np.asarray(image)
    return from_array(array, str(file))


def _to_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.pop("icc_profile", None)  # it describes the old space
    if profile and image.mode in ("CMYK", "LAB"):
        with contextlib.suppress(ImageCms.PyCMSError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
    return image.convert("RGB")


def _upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply an EXIF orientation (1 to 8)."""
    if orientation in (2, 3, 4):
        array = {2: array[:, ::-1], 3: array[::-1, ::-1], 4: array[::-1]}[orientation]
    elif orientation in (5, 6, 7, 8):
        turned = array.swapaxes(0, 1)
        array = {5: turned, 6: turned[:, ::-1], 7: turned[::-1, ::-1], 8: turned[::-1]}[orientation]
    return np.ascontiguousarray(array)


def check_output(path: str | os.PathLike[str]) -> Path:
    """Refuse an output path that cannot be written, before any work is done.

    Raises:
        RaihaError: an unknown suffix, a missing or unwritable folder, or a folder of that name.
    """
    file = Path(path)
    if file.suffix.lower() not in WRITABLE:
        raise RaihaError(f"{file} has no known picture suffix; use one of {', '.join(WRITABLE)}.")
    if file.is_dir():
        raise RaihaError(f"{file} is a folder; give a file name for the result.")
    if not file.parent.is_dir():
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
    suffix = file.suffix.lower()
    if suffix in (".jpg", ".jpeg") and picture.alpha is not None:
        raise RaihaError(f"{file} cannot hold the alpha channel; write .png, .tif or .webp instead.")
    if suffix == ".png" and picture.rgb.dtype == np.float32:
        raise RaihaError(f"{file} cannot hold floating-point samples; write .tif instead.")
    writer: Callable[[Path, Picture], None]
    if suffix in (".tif", ".tiff"):
        writer = tiff.write
    elif suffix == ".png" and picture.rgb.dtype == np.uint16:
        writer = png.write_deep
    else:
        writer = _write_with_pillow
    atomically(file, lambda part: writer(part, picture))
    return file


def _write_with_pillow(part: Path, picture: Picture) -> None:
    rgb = to_8_bit(picture.rgb)
    image = Image.fromarray(rgb if picture.alpha is None else np.dstack([rgb, to_8_bit(picture.alpha)]))
    options: dict[str, Any] = {"icc_profile": picture.icc} if picture.icc else {}
    if picture.exif:
        options["exif"] = picture.exif
    if part.suffix in (".jpg", ".jpeg"):
        image.save(part, "JPEG", quality=95, subsampling=0, **options)
    elif part.suffix == ".webp":
        image.save(part, "WEBP", lossless=True, exact=True, quality=75, method=4, **options)
    else:
        image.save(part, "PNG", compress_level=4, **options)


def atomically(file: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `file`, then move it there.

    Raises:
        RaihaError: nothing could be written; nothing is left behind.
    """
    part: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.stem}.", suffix=file.suffix.lower())
        os.close(handle)
        part = Path(name)
        write(part)
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)
        os.replace(part, file)
        part = None
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        what = "the disk is full; make room" if full else f"{error.strerror or error}; choose another output path"
        raise RaihaError(f"{file} could not be written: {what} and start again.") from None
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
