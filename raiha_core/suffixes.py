"""Which picture files are known by their names; apart, so that the command line need not load torch to look."""

from __future__ import annotations

READABLE = (
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".avif", ".jpe", ".jfif", ".apng", ".dib", ".jp2", ".j2k",
    ".ppm", ".pgm", ".pnm", ".tga",
)  # fmt: skip
PHOTOS = (*READABLE, ".heic", ".heif")
"""What a gallery's photos may be called: also what cannot be read without a further package, so that it is listed."""
WRITABLE = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")
