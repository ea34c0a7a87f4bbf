"""Open indexes, and when they have changed."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..raiha_core.errors import RaihaError
from ..raiha_core.references import ReferenceIndex, fingerprint
from ..raiha_core.references.photos import SUFFIXES
from . import folders

_KEPT = 4
_open: OrderedDict[Path, ReferenceIndex] = OrderedDict()
_same_as: dict[str, str] = {}
_lock = threading.Lock()


@contextmanager
def installed() -> Iterator[None]:
    """Say in a sentence which package is missing; only the reference nodes need any beyond those of Harmonize Composite."""
    # While faiss looks for its fastest variant, it would write a line into ComfyUI's log for each that is not there.
    loader = logging.getLogger("faiss.loader")
    level = loader.level
    loader.setLevel(logging.WARNING)
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or str(error)).split(".")[0]
        raise RaihaError(
            f"Finding references needs the Python package {name}, which is not installed: run pip install -r requirements.txt in "
            "the pack's folder with ComfyUI's Python. Harmonize Composite works without it."
        ) from None
    finally:
        loader.setLevel(level)


def opened(directory: Path, encoder: str | None = None) -> ReferenceIndex:
    """An open index that shows what is on disk now; the last four stay open.

    Raises:
        RaihaError: there is none, it is damaged, or it was made with another encoder.
    """
    with _lock, installed():
        index = _open.pop(directory, None)
        if index is not None and (encoder is None or encoder == index.encoder_info.id):
            index.refresh()
        else:
            index = ReferenceIndex.open(directory, encoder)
        _open[directory] = index
        while len(_open) > _KEPT:
            # Nodes may still hold it, so it is let go, not closed.
            _open.popitem(last=False)
        return index


def state(directory: Path) -> str:
    """The hash of an index's manifest; for one that a node has just brought up to date, the hash from before.

    ComfyUI compares what the node saw before its run with what it sees before the next one: without this, the node's own
    writing would make it run again.
    """
    try:
        now = fingerprint(directory)
    except RaihaError:
        now = "none"
    return _same_as.get(now, now)


def wrote(directory: Path, before: str) -> None:
    """Remember that the present state came of a node's own writing."""
    _same_as[fingerprint(directory)] = before


def gallery_state(gallery: Path) -> str:
    """A digest of names, sizes and times of the photos in a gallery; reads no photo."""
    digest = hashlib.sha256()
    for place, names, files in os.walk(gallery):
        names[:] = sorted(n for n in names if not n.startswith("."))
        for name in sorted(files):
            if os.path.splitext(name)[1].lower() in SUFFIXES:
                try:
                    status = os.stat(os.path.join(place, name))
                except OSError:
                    continue
                digest.update(f"{place}/{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def by_key(key: str) -> ReferenceIndex | None:
    """The registered index with this key, as it is on disk now, opened if need be."""
    with _lock:
        directory = next((place for place in _open if folders.index_key(place) == key), None)
    directory = directory or folders.index_of_key(key)
    return opened(directory) if directory is not None else None
