"""Large PNGs and JPEGs decoded into the array that is worked on: Pillow takes four bytes for a pixel, and then a copy."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .limits import LARGE

DIRECT = 4_000_000
"""Pixels from which on a JPEG counts as large, and a grey PNG, as masks are: they take less time so. With other PNGs memory alone
is the reason."""
KIND = "direct"
"""What `PER_PIXEL` calls it."""


def serves(image: Image.Image, file: Path) -> bool:
    """Whether an opened picture is large, whole and of a plain kind: 8 bits, grey or RGB, opaque, not held as coefficients first."""
    plain = image.mode in ("L", "RGB") and "transparency" not in image.info and not image.info.get("progressive")
    fast = image.format == "JPEG" or (image.format == "PNG" and image.mode == "L")
    least = min(DIRECT, LARGE) if fast else LARGE if image.format == "PNG" else float("inf")
    large = plain and image.width * image.height >= least
    return large and (image.format == "PNG" or _whole(file))


def _whole(file: Path) -> bool:
    """Whether a JPEG has an end behind its beginning: what was cut off would be filled with grey, without a word."""
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = 2
        while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        return data.rfind(b"\xff\xd9", at) >= 0


def samples(file: Path, image: Image.Image, data: bytes | None = None) -> NDArray[np.uint8]:
    """The samples `(H, W)` or `(H, W, 3)` of a PNG or JPEG of 8 bits that Pillow has opened: those that Pillow would give.

    Args:
        file: where it lies.
        image: tells mode and size.
        data: its bytes, where they are known.

    Raises:
        RuntimeError: it is damaged or cut off.
    """
    import imagecodecs

    shape = (image.height, image.width) if image.mode == "L" else (image.height, image.width, 3)
    out = np.empty(shape, np.uint8)
    source: Any = np.memmap(file, np.uint8, "r") if data is None else np.frombuffer(data, np.uint8)
    decode = imagecodecs.jpeg8_decode if image.format == "JPEG" else imagecodecs.png_decode
    decode(source, out=out)
    return out
