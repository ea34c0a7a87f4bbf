"""Raiha for ComfyUI. ComfyUI imports this file; the library is `raiha_core`."""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> Any:
    """Give ComfyUI the nodes. Imported only when asked for, so that pytest may import this file, too."""
    from .nodes.extension import RaihaExtension

    return RaihaExtension()


__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
