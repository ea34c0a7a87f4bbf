"""How large a picture may be: its pixels, and the memory that reading and working on it will take."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ..errors import RaihaError

MAX_PIXELS = 500_000_000
"""Well above the largest cameras (200 megapixels); a file that claims more is a mistake or an attack on memory."""
LARGE = 64_000_000
"""Pixels from which a picture is read, worked on and written in ways that spare memory."""
VARIABLE = "RAIHA_MEMORY_GB"
"""Environment variable that says how much memory a picture may take, in place of what is free."""
SHARE = 0.8
"""Of the free memory, what one picture may take."""
PER_PIXEL = {"WEBP": 24, "GIF": 20, "JPEG2000": 32, "AVIF": 24, "TIFF": 16, "direct": 3}
"""Bytes that Pillow's decoders take for a pixel at their peak, copies included; measured."""
USUAL = 16
"""The same for its other decoders."""
WORK = 11
"""Bytes for a pixel of 8-bit colours while it is worked on: the result, the mask as floats and as read."""
_CGROUP = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current")


def too_many_pixels(file: Path) -> RaihaError:
    """The error for a picture above the limit."""
    return RaihaError(f"{file} has more than {MAX_PIXELS // 10**6} megapixels; scale it down first.")


def check_pixels(file: Path, height: int, width: int) -> None:
    """Refuse a picture of too many pixels.

    Raises:
        RaihaError: says the limit.
    """
    if height * width > MAX_PIXELS:
        raise too_many_pixels(file)


def check_memory(file: Path, need: float) -> None:
    """Refuse a picture whose decoding and processing would take more memory than there is, before it is decoded.

    Args:
        need: bytes.

    Raises:
        RaihaError: says how much it needs, how much there is, and how to allow more.
    """
    if need < 2**28:  # whatever the machine, asking would cost more
        return
    allowed = budget()
    if need > allowed:
        raise RaihaError(
            f"{file} would need about {need / 1e9:.1f} GB of memory, and {allowed / 1e9:.1f} GB can be had; "
            f"scale it down first, or set {VARIABLE} to the gigabytes it may take."
        )


def budget() -> float:
    """Bytes that a picture may take: what `RAIHA_MEMORY_GB` says, or a share of what is free.

    Raises:
        RaihaError: the variable holds no positive number.
    """
    said = os.environ.get(VARIABLE)
    if said is None:
        return SHARE * free_memory()
    with contextlib.suppress(ValueError):
        if 0 < float(said) < float("inf"):
            return float(said) * 1e9
    raise RaihaError(f"{VARIABLE} is {said!r}; give a number of gigabytes, for example 8.")


def free_memory() -> float:
    """Bytes of memory that this process could still take, by the machine, its container and its own limits."""
    import psutil

    free = float(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):
        most, used = (Path(p).read_text().strip() for p in _CGROUP)
        free = min(free, float(most) - float(used))  # "max" is no number
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        most_address, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most_address != resource.RLIM_INFINITY:
            free = min(free, most_address - psutil.Process().memory_info().vms)
    return max(free, 0.0)
