"""Writing an index: read what changed, embed it, commit every few seconds, publish, replace the manifest last."""

from __future__ import annotations

import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from ..content.base import ContentEncoder
from . import manifest as manifests
from .catalogue import Catalogue
from .embed import Decoded, Task, decode, embed
from .lock import explained
from .manifest import Manifest
from .rows import Entry
from .stores import VectorStore

Progress = Callable[[int, int], None]
Embedder = Callable[[list[Task]], Iterable[Entry]]

BATCH = 8
"""Photos embedded together: what each call costs besides is shared, and little is lost when a build is interrupted."""
COMMIT_SECONDS = 2.0
COMMIT_IMAGES = 256


class Writer:
    """A held index: commits entries and publishes them. Its owner holds the write lock.

    Args:
        catalogue: open for writing.
        store: of its vectors.
        manifest: what is published.
        name: file of the manifest.
    """

    def __init__(self, catalogue: Catalogue, store: VectorStore, manifest: Manifest, name: str = manifests.NAME):
        self.catalogue = catalogue
        self.store = store
        self.manifest = manifest
        self.name = name
        self._pending: list[Entry] = []
        self._committed = time.monotonic()

    def write(self, tasks: list[Task], embedder: Embedder, progress: Progress | None = None) -> None:
        """Embed files and commit them as they come.

        Whatever ends it early (an error, Ctrl-C, an exception of `progress`), what was embedded is committed first.
        """
        done, total = 0, len(tasks)
        try:
            if progress is not None and total:
                progress(0, total)
            for entry in embedder(tasks):
                self._pending.append(entry)
                done += 1
                if len(self._pending) >= COMMIT_IMAGES or time.monotonic() - self._committed > COMMIT_SECONDS:
                    self.commit()
                if progress is not None:
                    progress(done, total)
        finally:
            self.commit()

    def add(self, entries: Iterable[Entry]) -> None:
        """Take entries that need no embedding."""
        self._pending += entries

    def commit(self) -> None:
        """Store what is pending; from then on it survives a crash."""
        if self._pending:
            self.catalogue.put(self._pending)
            self._pending = []
            self.publish(final=False)
        self._committed = time.monotonic()

    def publish(self, *, final: bool = True) -> None:
        """Bring the store up to date and replace the manifest, if anything changed; then delete what it no longer names.

        Raises:
            RaihaError: it cannot be written, for example on a full disk; what was published before stays.
        """
        catalogue, before = self.catalogue, self.manifest.store["state"]
        with explained(catalogue.directory):
            state = self.store.publish(catalogue, before, revision=catalogue.at, final=final)
            if state == before and not catalogue.dirty and self.manifest.revision:
                return
            self.manifest = self.manifest.next(state, catalogue.counts())
            manifests.save(self.manifest, catalogue.directory, self.name)
        catalogue.at = self.manifest.revision + 1
        catalogue.dirty = False
        # The previous generation stays for readers that have just read the previous manifest.
        self.store.collect_garbage([before, state])


class LocalEmbedder:
    """Reads files in threads and embeds them here, in order, a few at a time.

    Args:
        encoder: the content encoder.
        known: content hashes of photos in the index.
        workers: reading threads; default: one per core, at most four.
    """

    def __init__(self, encoder: ContentEncoder, known: set[str], workers: int | None = None):
        self.encoder = encoder
        self.known = known
        self.workers = workers or max(1, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))

    def __call__(self, tasks: list[Task]) -> Iterator[Entry]:
        """Embed files in their order."""
        waiting: deque[Future[Decoded]] = deque()
        todo = iter(tasks)
        with ThreadPoolExecutor(self.workers, thread_name_prefix="raiha-read") as pool:
            try:
                while True:
                    for task in itertools.islice(todo, BATCH + 2 * self.workers - len(waiting)):
                        waiting.append(pool.submit(decode, task, self.known.__contains__, self.encoder.region_side))
                    if not waiting:
                        return
                    yield from self._embed([waiting.popleft().result() for _ in range(min(BATCH, len(waiting)))])
            finally:
                for future in waiting:
                    future.cancel()

    def _embed(self, batch: list[Decoded]) -> list[Entry]:
        entries = embed(batch, self.encoder)
        self.known.update(entry.hash for entry in entries if entry.hash is not None)
        return entries
