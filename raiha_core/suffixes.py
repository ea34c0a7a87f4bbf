"""Which picture files are known by their names; apart, so that the command line need not load torch to look."""

from __future__ import annotations

READABLE = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".avif")
WRITABLE = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")
