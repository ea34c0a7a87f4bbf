"""Content encoders by name."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

import torch

from ..errors import RaihaError
from ..settings import checked_device
from .base import ContentEncoder

KEPT = 2
"""How many encoders stay loaded."""

_Key = tuple[str, str, int, int]
_loaded: OrderedDict[_Key, ContentEncoder] = OrderedDict()
_lock = threading.Lock()


def load_encoder(name: str = "embedded", device: torch.device | str | None = None, *, download: bool = True) -> ContentEncoder:
    """Load a content encoder by the name a user gives; the last two stay loaded.

    Args:
        name: one of
            `embedded`, or `embedded@FILE`: the small encoder that ships in the package;
            `open_clip:MODEL/TAG`, `open_clip:MODEL@FILE`, `open_clip:@FOLDER`;
            `dinov2:MODEL`, `dinov2:MODEL@FILE`, MODEL being a name in timm such as `vit_base_patch14_reg4_dinov2.lvd142m`.
        device: where to put it; None is the CPU.
        download: naming `open_clip:MODEL/TAG` or `dinov2:MODEL` asks for their weights, which are then downloaded, with a
            warning on the log, unless the library's cache holds them; False forbids that.

    Raises:
        RaihaError: an unknown name, a device that is not to be had, a missing library, a file that is missing, broken, hostile
            or of another model, or a download that failed or was not allowed.
    """
    spec, at, file = name.partition("@")
    kind, _, model = spec.partition(":")
    path = Path(file).expanduser() if at else None
    chosen = checked_device(device)
    key = (name, str(chosen), *_stamp(path))
    with _lock:
        if key in _loaded:
            _loaded.move_to_end(key)
            return _loaded[key]
        encoder = _load(name, kind, model, path, chosen, download)
        _loaded[key] = encoder
        while len(_loaded) > KEPT:
            _loaded.popitem(last=False)
        return encoder


def _load(name: str, kind: str, model: str, path: Path | None, device: torch.device | str, download: bool) -> ContentEncoder:
    if kind == "embedded" and not model:
        from .embedded import EmbeddedEncoder

        return EmbeddedEncoder.load(path, device=device)
    if kind == "dinov2" and model:
        from .dinov2 import Dinov2Encoder

        return Dinov2Encoder.load(model, path, device, download)
    if kind == "open_clip" and (path is not None or "/" in model):
        from .open_clip import OpenClipEncoder

        if path is not None:
            return OpenClipEncoder.load(model, path=path, device=device)
        architecture, _, tag = model.rpartition("/")
        return OpenClipEncoder.load(architecture, tag, device=device, download=download)
    raise RaihaError(
        f"The content encoder {name!r} is not known; use embedded, open_clip:MODEL/TAG, dinov2:MODEL, or MODEL@FILE in place of a download."
    )


def _stamp(path: Path | None) -> tuple[int, int]:
    """What changes when a local file does."""
    try:
        stat = path.stat() if path is not None else None
    except OSError:
        return 0, 0
    return (stat.st_mtime_ns, stat.st_size) if stat else (0, 0)
