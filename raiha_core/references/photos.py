"""Reading gallery photos whatever they are: bounded memory, and one sentence for those that cannot be read."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, JpegImagePlugin, UnidentifiedImageError
from torch import Tensor

from ..image.quiet import quiet
from ..image.regular import open_regular

SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".apng",
        ".webp",
        ".bmp",
        ".dib",
        ".gif",
        ".tif",
        ".tiff",
        ".avif",
        ".heic",
        ".heif",
        ".jp2",
        ".j2k",
        ".ppm",
        ".pgm",
        ".pnm",
        ".tga",
    ]
)
# A decoded photo of this many pixels takes about 0.4 GB; larger ones are read only where the format can decode reduced.
MAX_PIXELS = 128_000_000


class UnreadableImage(Exception):
    """A photo that cannot be used; the message is the reason, for the list of unreadable files."""


def file_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hex.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    with open_regular(path) as file:
        return hash_of(file)


def hash_of(file: BinaryIO) -> str:
    """SHA-256 of all bytes of an open file, in hex; reads in pieces, and leaves it at its start."""
    digest = hashlib.sha256()
    file.seek(0)
    while piece := file.read(1 << 20):
        digest.update(piece)
    file.seek(0)
    return digest.hexdigest()


def read_photo(photo: str | os.PathLike[str] | BinaryIO, max_side: int) -> tuple[Image.Image, tuple[int, int]]:
    """Read a photo, reduced, upright, as 8-bit sRGB.

    The first frame of an animation; transparency over mid grey; embedded profiles (CMYK, wide gamut) to sRGB.

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
            with _open(file) as image:
                return _load(image, max_side)
    except UnreadableImage:
        raise
    except FileNotFoundError:
        raise UnreadableImage("the file is gone") from None
    except PermissionError:
        raise UnreadableImage("no permission to read it") from None
    except UnidentifiedImageError:
        raise UnreadableImage(_why_unknown(photo)) from None
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


def _open(file: BinaryIO) -> Image.Image:
    head = file.read(2)
    file.seek(0)
    if not head:
        raise UnreadableImage("the file is empty")
    try:
        return Image.open(file)
    except Image.DecompressionBombError:
        # Pillow refuses by the pixel count alone; a JPEG can be decoded at an eighth of its size all the same.
        if head != b"\xff\xd8":
            raise
        file.seek(0)
        return JpegImagePlugin.JpegImageFile(file)


def _load(image: Image.Image, max_side: int) -> tuple[Image.Image, tuple[int, int]]:
    size = image.size
    if min(size) < 1:
        raise UnreadableImage("it has no pixels")
    image.draft(None, (max_side, max_side))
    if image.size[0] * image.size[1] > MAX_PIXELS:
        raise UnreadableImage(
            f"{size[0]} x {size[1]} pixels are too many for this format (at most {MAX_PIXELS // 1_000_000} million): save it as JPEG"
        )
    image.load()
    if ImageOps.exif_transpose is not None and image.getexif().get(0x0112, 1) in (5, 6, 7, 8):
        size = (size[1], size[0])
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    image = _eight_bit(image)
    if max(image.size) > max_side:
        image.thumbnail((max_side, max_side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return _to_srgb(image, profile), size


def _eight_bit(image: Image.Image) -> Image.Image:
    """16- and 32-bit greys to 8 bits by scaling; Pillow itself would clip them."""
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image, dtype=np.float32)
        return Image.fromarray((values / 257).clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float32))
        scale = 255.0 if values.max(initial=0.0) <= 1.5 else 1.0
        return Image.fromarray((values * scale).clip(0, 255).astype(np.uint8))
    return image


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        flat = Image.new("RGB", image.size, (127, 127, 127))
        flat.paste(image, mask=image.getchannel("A"))
        return flat
    if profile and image.mode in ("RGB", "CMYK"):
        import io

        try:
            converted = ImageCms.profileToProfile(
                image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError):
            converted = None  # A broken profile is no reason to refuse the photo.
        if converted is not None:
            return converted
    return image.convert("RGB")


def _why_unknown(photo: str | os.PathLike[str] | BinaryIO) -> str:
    if isinstance(photo, str | os.PathLike):
        with open(photo, "rb") as file:
            head = file.read(12)
    else:
        photo.seek(0)
        head = photo.read(12)
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return "HEIC needs the Python package pillow-heif, which is not installed; or save it as JPEG"
    return "not a picture that Pillow knows, or its beginning is damaged"
