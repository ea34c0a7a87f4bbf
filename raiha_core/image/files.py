"""Pictures from and to files without losing depth, alpha, EXIF or the colour profile."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from ..errors import RaihaError
from ..suffixes import WRITABLE
from . import png, tiff
from .limits import MAX_PIXELS, too_many_pixels
from .metadata import ORIENTATION, tiff_exif, upright
from .picture import Picture, from_array

_LONGEST_SIDE = {".jpg": 65535, ".jpeg": 65535, ".webp": 16383}
_bomb_lock = threading.Lock()


@contextlib.contextmanager
def _large_pictures() -> Iterator[None]:
    """Photos of 200 megapixels are real; Pillow's limit is for web servers. It is put back, since it is global."""
    with _bomb_lock:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow warns above this and refuses above twice as many
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
            page = tiff.read(file) if tiff.is_tiff(file) else None
            if page is not None and page.samples is not None:
                picture = replace(from_array(page.samples, str(file)), premultiplied=page.premultiplied)
                icc, orientation, block = page.icc, page.orientation, tiff_exif(file)
            else:
                with Image.open(file) as image:
                    # In an MPO, the photo comes first; behind it lie a preview, a second eye or a gain map.
                    frames = getattr(image, "n_frames", 1) if page is None and image.format != "MPO" else 1
                    if frames > 1:
                        raise RaihaError(f"{file} holds {frames} frames or pages; extract the one you want and give that.")
                    orientation = int(image.getexif().get(ORIENTATION, 1) or 1)
                    block = image.info.get("exif") if page is None else tiff_exif(file)
                    deep = png.read_deep(file) if image.format == "PNG" else None
                    picture = from_array(_samples(image) if deep is None else deep, str(file))
                    icc = image.info.get("icc_profile")
    except RaihaError:
        raise
    except Image.DecompressionBombError:
        raise too_many_pixels(file) from None
    except MemoryError:
        raise RaihaError(f"{file} is too large for this machine's memory; scale it down first.") from None
    except Exception as error:  # decoders raise whatever they like on hostile or broken input
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RaihaError(f"{file} cannot be read as a picture ({reason[:120]}); it may be truncated or of another format.") from None
    alpha = None if picture.alpha is None else _upright(picture.alpha, orientation)
    exif = upright(block) if block else None
    return replace(picture, rgb=_upright(picture.rgb, orientation), alpha=alpha, icc=_profile(icc, picture.grey), exif=exif)


def from_pil(image: Image.Image, name: str = "The picture") -> Picture:
    """A picture from a PIL image of any mode, its pixels as they lie: an EXIF orientation is not applied.

    Raises:
        RaihaError: no pixels, NaN or infinite values, or 32-bit integers.
    """
    exif = image.info.get("exif")
    image = image.copy() if image.mode in ("CMYK", "LAB") else image  # their profile is used up
    picture = from_array(_samples(image), name)
    icc = _profile(image.info.get("icc_profile"), picture.grey)
    return replace(picture, icc=icc, exif=exif if isinstance(exif, bytes) else None)


def _profile(icc: bytes | None, grey: bool) -> bytes | None:
    """The profile if it is one for such samples; a grey one on RGB, or the reverse, makes viewers refuse the file."""
    if not icc:
        return None
    return icc if (icc[16:20] == b"GRAY") == grey else None


def _samples(image: Image.Image) -> NDArray[Any]:
    """The samples of any mode as `(H, W)` or `(H, W, C)`; palettes become RGB, print and Lab colours sRGB."""
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":
        array = np.asarray(image)
        if array.min() < 0 or array.max() > 65535:
            raise RaihaError("The picture has 32-bit integer samples; save it with 8 or 16 bits or as floating point.")
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
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            lab = image.mode == "LAB"
            source = ImageCms.createProfile("LAB") if lab else ImageCms.getOpenProfile(io.BytesIO(profile))
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
    image = picture.pil()
    options: dict[str, Any] = {"icc_profile": picture.icc, "exif": picture.exif or b""}
    if part.suffix in (".jpg", ".jpeg"):
        image.save(part, "JPEG", quality=95, subsampling=0, **options)
    else:
        # In lossless WebP more effort costs three times as long for one per cent.
        image.save(part, "WEBP", lossless=True, exact=True, quality=20, method=1, **options)


def atomically(file: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `file`, then move it there; a symbolic link is followed.

    Raises:
        RaihaError: nothing could be written; nothing is left behind.
    """
    target = Path(os.path.realpath(file))
    part = target.with_name(f".{target.stem[:40]}.{secrets.token_hex(4)}{target.suffix.lower()}")
    try:
        # Exclusive creation, not tempfile: the file gets the user's usual permissions.
        with part.open("xb"):
            pass
        write(part)
        os.replace(part, target)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        what = "the disk is full; make room" if full else f"{error.strerror or error}; choose another output path"
        raise RaihaError(f"{file} could not be written: {what} and start again.") from None
    except (ValueError, TypeError, struct.error, OverflowError) as error:  # what encoders say to metadata that they cannot hold
        raise RaihaError(f"{file} could not be written ({error}); write .png or .tif, or remove the metadata.") from None
    finally:
        part.unlink(missing_ok=True)
