"""The route from which the widget gets its thumbnails: catalogued photos of registered indexes, nothing else."""

from __future__ import annotations

import asyncio
import functools
import io
import re
from pathlib import Path
from typing import Any

from aiohttp import web

from ..raiha_core.errors import RaihaError
from ..raiha_core.references.reference import thumbnail_of
from . import indexes

SIZES = {"small": 256, "large": 768}
ROUTE = "/raiha/thumbnail/{index}/{photo}/{size}"
_KEY, _PHOTO = re.compile(r"[0-9a-f]{12}"), re.compile(r"[0-9a-f]{16}")


def picture(key: str, photo: str, side: int) -> bytes:
    """A thumbnail as JPEG.

    Whether the photo still is in the index, and its file still is what was indexed, is looked at every time; only drawing
    it is remembered.

    Raises:
        LookupError: there is no such photo in a registered index.
    """
    try:
        index = indexes.by_key(key)
        if index is None:
            raise LookupError(key)
        file = index.path_of(photo)
        status = file.stat()
        return _drawn(file, photo, side, status.st_size, status.st_mtime_ns)
    except (RaihaError, OSError) as error:
        raise LookupError(str(error)) from None


@functools.lru_cache(maxsize=256)
def _drawn(file: Path, photo: str, side: int, size: int, mtime: int) -> bytes:
    """A photo as JPEG, for a file of this size and time of change; its bytes are compared with its id."""
    buffer = io.BytesIO()
    thumbnail_of(file, photo, side).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


async def answer(request: web.Request) -> web.Response:
    """200 with a picture that may be kept for ever, since its name is the hash of its content; or 404."""
    key, photo, size = (request.match_info[part] for part in ("index", "photo", "size"))
    if not (_KEY.fullmatch(key) and _PHOTO.fullmatch(photo) and size in SIZES):
        raise web.HTTPNotFound()
    try:
        data = await asyncio.to_thread(picture, key, photo, SIZES[size])
    except LookupError:
        raise web.HTTPNotFound() from None
    headers = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return web.Response(body=data, content_type="image/jpeg", headers=headers)


def register(routes: Any) -> None:
    """Add the route to ComfyUI's table of routes."""
    routes.get(ROUTE)(answer)
