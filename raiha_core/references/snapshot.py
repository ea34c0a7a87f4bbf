"""One state of an index, for reading: immutable, held by its readers, closed by whoever leaves it last."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from ..errors import RaihaError
from . import manifest as manifests
from .catalogue import Catalogue
from .checks import require_current
from .folder import open_store
from .lookup import Lookup
from .manifest import Manifest
from .stores import Access, VectorStore


class Snapshot:
    """Manifest, catalogue and vectors of one revision.

    Whoever made it holds it; `using` holds it for a while. What a `close` finds in use is closed when it is no longer.
    """

    def __init__(self, directory: Path, manifest: Manifest, catalogue: Catalogue, store: VectorStore):
        self.directory = directory
        self.manifest = manifest
        self.catalogue = catalogue
        self.store = store
        self._free = threading.Condition()
        self._users = 0
        self._closing = self._closed = False

    @classmethod
    def load(cls, directory: Path, access: Access) -> Snapshot:
        """Open what the manifest names.

        Raises:
            RaihaError: there is no index, or it is damaged, or made by another version.
        """
        manifest = manifests.load(directory)
        while True:
            try:
                return cls._open(directory, manifest, access)
            except RaihaError:
                # A writer may have published, and tidied up, between the reads.
                newer = manifests.load(directory)
                if newer.state == manifest.state:
                    raise
                manifest = newer

    @classmethod
    def _open(cls, directory: Path, manifest: Manifest, access: Access) -> Snapshot:
        require_current(manifest, directory)
        with contextlib.ExitStack() as opened:
            catalogue = Catalogue(directory, manifest)
            opened.callback(catalogue.close)
            if catalogue.meta().get("identity") != manifest.identity:
                raise manifests.damaged(directory, f"{manifest.catalogue} belongs to another index")
            store = open_store(directory, manifest, access)
            opened.callback(store.close)
            store.load(catalogue, manifest.store["state"])
            opened.pop_all()
        return cls(directory, manifest, catalogue, store)

    @property
    def complete(self) -> bool:
        """Whether everything of this revision is still there: cleaning up deletes what only earlier ones had."""
        return int(self.catalogue.meta().get("complete_since", 0)) <= self.catalogue.at

    def lookup(self, moved: Path | None) -> Lookup:
        """Names of its photos and their files."""
        return Lookup(self.catalogue, moved)

    def hold(self) -> bool:
        """Hold it until `leave`; False if it has been closed."""
        with self._free:
            if self._closing:
                return False
            self._users += 1
            return True

    def leave(self) -> None:
        """Let go of it."""
        with self._free:
            self._users -= 1
            if self._closing:
                self._close_if_free()

    @contextlib.contextmanager
    def using(self) -> Iterator[bool]:
        """Hold it for a while; gives False if it has been closed."""
        held = self.hold()
        try:
            yield held
        finally:
            if held:
                self.leave()

    def close(self, *, wait: bool = False) -> None:
        """Close it as soon as nobody uses it; with `wait`, not return before."""
        with self._free:
            self._closing = True
            self._close_if_free()
            if wait:
                self._free.wait_for(lambda: self._closed)

    def _close_if_free(self) -> None:
        if self._users == 0 and not self._closed:
            self._closed = True
            self.catalogue.close()
            self.store.close()
            self._free.notify_all()
