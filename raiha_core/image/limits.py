"""How large a picture may be."""

from __future__ import annotations

from pathlib import Path

from ..errors import RaihaError

MAX_PIXELS = 500_000_000
"""Well above the largest cameras (200 megapixels); a file that claims more is a mistake or an attack on memory."""


def too_many_pixels(file: Path) -> RaihaError:
    """The error for a picture above the limit."""
    return RaihaError(f"{file} has more than {MAX_PIXELS // 10**6} megapixels; scale it down first.")
