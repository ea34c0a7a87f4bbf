"""The route from which the widget gets its thumbnails: catalogued photos of registered indexes, nothing else."""

from __future__ import annotations

import asyncio
import functools
import io
import re
from typing import Any

from aiohttp import web

from ..raiha_core.errors import RaihaError
from . import indexes

SIZES = {"small": 256, "large": 768}
ROUTE = "/raiha/thumbnail/{index}/{photo}/{size}"
_KEY, _PHOTO = re.compile(r"[0-9a-f]{12}"), re.compile(r"[0-9a-f]{16}")


@functools.lru_cache(maxsize=256)
def picture(key: str, photo: str, side: int) -> bytes:
    """A thumbnail as JPEG.

    Raises:
        LookupError: there is no such photo in a registered index.
    """
    try:
        index = indexes.by_key(key)
        if index is None:
            raise LookupError(key)
        drawn = index.thumbnail(photo, side)
    except RaihaError as error:
        raise LookupError(str(error)) from None
    file = io.BytesIO()
    drawn.save(file, "JPEG", quality=88)
    return file.getvalue()


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
