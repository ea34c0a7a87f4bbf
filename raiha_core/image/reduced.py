"""Any photo at a reduced size, upright, as 8-bit sRGB: what indexes, references and training look at.

`files.read_image` keeps every bit of a picture; this keeps what a small picture shows. Both read the same files.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageCms, JpegImagePlugin, UnidentifiedImageError
from torch import Tensor

from ..errors import RaihaError
from . import tiff
from .files import pillow_formats, webp_size
from .picture import from_array
from .quiet import quiet
from .regular import open_regular

# A decoded photo of this many pixels takes about 0.4 GB; larger ones are read only where the format can decode reduced.
MAX_PIXELS = 128_000_000
GREY = 127
"""What lies behind transparent pixels; colours under full transparency are no part of a picture."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIF = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
_ORIENTATION = 0x0112


class UnreadableImage(Exception):
    """A photo that cannot be used; the message is the reason, for the list of unreadable files."""


def read_reduced(photo: str | os.PathLike[str] | BinaryIO, max_side: int) -> tuple[Image.Image, tuple[int, int]]:
    """Read a photo, reduced, upright, as 8-bit sRGB.

    The first frame of an animation; transparency over mid grey; embedded profiles (wide gamut, grey, CMYK) to sRGB;
    floating point with white at 1, what is brighter is white.

    Args:
        photo: any file, by its path or open.
        max_side: longest side of the result in pixels; JPEGs decode at reduced size, so large ones are cheap.

    Returns:
        The picture (mode RGB), and (width, height) of the photo in its own pixels, upright.

    Raises:
        UnreadableImage: with the reason.
    """
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open_regular(photo)) if isinstance(photo, str | os.PathLike) else photo
            stack.enter_context(quiet())
            return _read(file, max_side)
    except UnreadableImage:
        raise
    except FileNotFoundError:
        raise UnreadableImage("the file is gone") from None
    except PermissionError:
        raise UnreadableImage("no permission to read it") from None
    except MemoryError:
        raise UnreadableImage("it needs more memory than there is") from None
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"too large to decode ({error})") from error
    # Decoders raise anything on broken input; whatever it is, it is one bad file, and the others are to be read.
    except Exception as error:
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise UnreadableImage(f"damaged or truncated ({reason})") from error


def as_tensor(image: Image.Image) -> Tensor:
    """An RGB picture as `(1, 3, H, W)` float32 in [0, 1]."""
    pixels = np.asarray(image, dtype=np.uint8)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def _read(file: BinaryIO, max_side: int) -> tuple[Image.Image, tuple[int, int]]:
    head = file.read(32)
    file.seek(0)
    if not head:
        raise UnreadableImage("the file is empty")
    if head[:4] in _TIFF:
        found = _read_tiff(file, max_side)
        if found is not None:
            return found
        file.seek(0)
    try:
        image = _open(file, head)
    except UnidentifiedImageError:
        heif = head[4:8] == b"ftyp" and head[8:12] in _HEIF
        lacking = "HEIC needs the Python package pillow-heif, which is not installed; or save it as JPEG"
        raise UnreadableImage(lacking if heif else "not a picture that Pillow knows, or its beginning is damaged") from None
    with image:
        return _load(image, max_side)


def _open(file: BinaryIO, head: bytes) -> Image.Image:
    if head[8:12] == b"WEBP":  # Its decoder takes the memory when the file is opened.
        height, width = webp_size(head)
        _check_size(width, height, (width, height))
    try:
        return Image.open(file, formats=[*pillow_formats(), "TIFF"])
    except Image.DecompressionBombError:
        # Pillow refuses by the pixel count alone; a JPEG can be decoded at an eighth of its size all the same.
        if head[:2] != b"\xff\xd8":
            raise
        file.seek(0)
        return JpegImagePlugin.JpegImageFile(file)


def _check_size(width: int, height: int, of: tuple[int, int]) -> None:
    if min(of) < 1:
        raise UnreadableImage("it has no pixels")
    if width * height > MAX_PIXELS:
        raise UnreadableImage(
            f"{of[0]} x {of[1]} pixels are too many for this format (at most {MAX_PIXELS // 1_000_000} million): save it as JPEG"
        )


def _read_tiff(file: BinaryIO, max_side: int) -> tuple[Image.Image, tuple[int, int]] | None:
    """A TIFF whose samples Pillow would not read, or would read wrongly; None where Pillow knows better."""
    import tifffile

    with tifffile.TiffFile(file) as handle:
        first = handle.pages.first
        _check_size(first.imagewidth, first.imagelength, (first.imagewidth, first.imagelength))
    file.seek(0)
    try:
        page = tiff.read(Path(file.name))
        if page.samples is None or page.inks:
            return None
        picture = from_array(np.nan_to_num(page.samples) if page.samples.dtype.kind == "f" else page.samples)
    except RaihaError:
        return None  # Pillow takes it, or refuses it with a reason of its own.
    picture = replace(picture, premultiplied=page.premultiplied)
    image = picture.pil()
    return _finish(image, image.size, page.orientation, page.icc, max_side)


def _load(image: Image.Image, max_side: int) -> tuple[Image.Image, tuple[int, int]]:
    size = image.size
    # A JPEG is decoded at the smallest of an eighth, a quarter, a half that is still as large as wanted on both sides.
    share = min(1.0, max_side / max(size))
    image.draft(None, (max(1, math.ceil(size[0] * share)), max(1, math.ceil(size[1] * share))))
    _check_size(*image.size, size)
    image.load()
    orientation = int(image.getexif().get(_ORIENTATION, 1) or 1)
    return _finish(image, size, orientation, image.info.get("icc_profile"), max_side)


def _finish(
    image: Image.Image, size: tuple[int, int], orientation: int, profile: bytes | None, max_side: int
) -> tuple[Image.Image, tuple[int, int]]:
    """Bring decoded pixels to 8-bit sRGB, at most `max_side` long, upright."""
    image = _eight_bit(image)
    if image.mode in ("1", "P", "PA"):  # Their values are no colours that could be averaged.
        clear = image.mode == "PA" or "transparency" in image.info
        image = image.convert("RGBA" if clear else "L" if image.mode == "1" else "RGB")
    elif "transparency" in image.info and image.mode in ("L", "RGB"):
        image = image.convert("RGBA")
    if max(image.size) > max_side:
        # Pillow weighs by alpha here, so that colours under full transparency do not bleed into their neighbours.
        image.thumbnail((max_side, max_side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    if image.mode in ("RGBa", "La"):
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    image = _to_srgb(image, profile)
    turn = _TURNS.get(orientation)
    if turn is not None:
        image = image.transpose(turn)
    if orientation in (5, 6, 7, 8):
        size = (size[1], size[0])
    return image, size


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _eight_bit(image: Image.Image) -> Image.Image:
    """16- and 32-bit greys to 8 bits by scaling; Pillow itself would clip them. Floating point has white at 1."""
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image, dtype=np.float32)
        return Image.fromarray((values / 257).clip(0, 255).round().astype(np.uint8))
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float32))
        return Image.fromarray((values * 255).clip(0, 255).round().astype(np.uint8))
    return image


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    alpha = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
    if alpha is not None:
        image = image.convert("RGB" if image.mode == "RGBA" else "L")
    grey = bool(profile) and profile is not None and profile[16:20] == b"GRAY"
    if profile and ((image.mode == "L") == grey) and image.mode in ("L", "RGB", "CMYK"):
        # A broken profile is no reason to refuse the photo.
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            image = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB") or image
    elif image.mode == "LAB":
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            lab = ImageCms.createProfile("LAB")
            image = ImageCms.profileToProfile(image, lab, ImageCms.createProfile("sRGB"), outputMode="RGB") or image
    image = image.convert("RGB")
    if alpha is None:
        return image
    flat = Image.new("RGB", image.size, (GREY, GREY, GREY))
    flat.paste(image, mask=alpha)
    return flat


__all__ = ["GREY", "MAX_PIXELS", "UnreadableImage", "as_tensor", "read_reduced"]
