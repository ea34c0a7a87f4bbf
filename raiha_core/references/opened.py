"""An open index: the snapshot that its readers hold, and what it says about itself."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import torch
from PIL import Image

from ..content.base import ContentEncoder
from ..errors import RaihaError
from . import kinds
from . import manifest as manifests
from .manifest import EncoderInfo
from .reference import THUMBNAIL_SIDE, thumbnail_of
from .scan import left_out_lines
from .snapshot import Snapshot
from .stores import Access

PathLike = str | os.PathLike[str]
_Self = TypeVar("_Self", bound="OpenIndex")


class OpenIndex:
    """What `ReferenceIndex` is apart from searching and writing."""

    def __init__(self, directory: Path, encoder: ContentEncoder | None, device: torch.device | str | None, access: Access):
        self.directory = directory
        self._device = device
        self._access = access
        self._encoder = encoder
        self._moved: Path | None = None
        self._changing = threading.RLock()
        self._snapshot = Snapshot.load(directory, access)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Snapshot]:
        """The present snapshot, which nobody closes meanwhile."""
        while True:
            snapshot = self._snapshot
            with snapshot.using() as held:
                if held:
                    yield snapshot
                    return
            with self._changing:  # A writer that lets nobody in besides has closed it for a while.
                if self._snapshot is snapshot:
                    raise RaihaError(f"the index at {self.directory} has been closed: open it again")

    def refresh(self) -> bool:
        """Take in what was written since; returns whether there was anything."""
        with self._changing:
            with self._reading() as old:
                if manifests.load(self.directory).state == old.manifest.state and old.complete:
                    return False
            self._snapshot = Snapshot.load(self.directory, self._access)
            old.close()
            return True

    def close(self) -> None:
        """Let go of files and connections; whoever is still reading finishes first."""
        self._snapshot.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        """Number of different photos."""
        return self._snapshot.manifest.counts.get("images", 0)

    @property
    def encoder_info(self) -> EncoderInfo:
        """Which content encoder made the vectors."""
        return self._snapshot.manifest.encoder

    @property
    def identity(self) -> str:
        """What no other index has, whatever its folder is called."""
        return self._snapshot.manifest.identity

    @property
    def fingerprint(self) -> str:
        """Hex digest that changes with every write (of the manifest on disk)."""
        return manifests.fingerprint(self.directory)

    @property
    def galleries(self) -> list[Path]:
        """The gallery folders, where they lie now if they could be found."""
        with self._reading() as snapshot:
            return list(snapshot.lookup(self._moved).places().values())

    def info(self) -> Mapping[str, Any]:
        """What the index holds, as JSON-serialisable values."""
        size = 0
        for path in self.directory.rglob("*"):
            with contextlib.suppress(OSError):  # A writer may just tidy up.
                size += path.stat().st_size if path.is_file() else 0
        with self._reading() as snapshot:
            return {
                "index": str(self.directory),
                "galleries": [str(g) for g in snapshot.lookup(self._moved).places().values()],
                **snapshot.manifest.counts,
                "encoder": asdict(snapshot.manifest.encoder),
                "illumination": snapshot.manifest.illumination,
                "store": snapshot.store.describe(),
                "bytes": size,
                "revision": snapshot.manifest.revision,
                "updated": snapshot.manifest.updated,
                "left_out": left_out_lines(snapshot.catalogue.meta().get("left_out", {})),
                "not_offered": kinds.lines(snapshot.catalogue.other_kinds()),
            }

    def failures(self) -> list[tuple[Path, str]]:
        """Files that could not be read, and why."""
        with self._reading() as snapshot:
            places = snapshot.lookup(self._moved).places()
            return [(places[row.root] / row.path, row.error or "") for row in snapshot.catalogue.failures()]

    def path_of(self, public_id: str) -> Path:
        """The file of a photo by its id, which still is what was indexed.

        Raises:
            RaihaError: there is no such photo in the index, or its file has vanished, changed, or leads out of the gallery.
        """
        with self._reading() as snapshot:
            lookup = snapshot.lookup(self._moved)
            row = snapshot.catalogue.image_by_id(public_id)
            if row is None:
                raise RaihaError(f"no photo with the id {public_id!r} in the index {self.directory}")
            found = lookup.existing(row)
        if found is None:
            raise RaihaError(
                f"the file of the photo {public_id} has vanished or changed: run `raiha index build {self.directory}` to update the index"
            )
        return found[0]

    def thumbnail(self, public_id: str, size: int = THUMBNAIL_SIDE) -> Image.Image:
        """A photo of the index by its id, RGB, at most `size` pixels wide and high.

        Nothing outside the index's galleries is read, and only bytes with the hash that the id names are shown.

        Raises:
            RaihaError: there is no such photo in the index, or its file has vanished, changed or is damaged.
        """
        return thumbnail_of(self.path_of(public_id), public_id, size)
