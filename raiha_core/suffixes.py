"""Which pictures and clips are known by their names; apart, so that the command line need not load torch to look."""

from __future__ import annotations

WRITABLE = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")
READABLE = (
    *WRITABLE,
    *(".jpe", ".jfif", ".apng", ".bmp", ".dib", ".gif", ".avif", ".heic", ".heif", ".jp2", ".j2k"),
    *(".psd", ".tga", ".qoi", ".ppm", ".pgm", ".pbm", ".pnm"),
)
CLIPS_WRITABLE = (".mp4", ".m4v", ".mov", ".mkv")
CLIPS = (*CLIPS_WRITABLE, ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".ogv", ".mxf", ".y4m")
