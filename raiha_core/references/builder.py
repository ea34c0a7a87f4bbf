"""Writing an index: read what changed, embed it, commit every few seconds, publish, replace the manifest last."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from ..content.base import ContentEncoder
from . import manifest as manifests
from .catalogue import Catalogue, Entry
from .embed import Decoded, Task, decode, embed
from .manifest import Manifest
from .regions import REGIONS
from .stores import VectorStore

Progress = Callable[[int, int], None]
Embedder = Callable[[list[Task]], Iterable[Entry]]

COMMIT_SECONDS = 2.0
COMMIT_IMAGES = 256


class Writer:
    """A held index: commits entries and publishes them. Its owner holds the write lock."""

    def __init__(self, catalogue: Catalogue, store: VectorStore, manifest: Manifest):
        self.catalogue = catalogue
        self.store = store
        self.manifest = manifest
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
            self.catalogue.put(self._pending, REGIONS)
            self._pending = []
            self.publish(final=False)
        self._committed = time.monotonic()

    def publish(self, *, final: bool = True) -> None:
        """Bring the store up to date and replace the manifest; then delete what the manifest no longer names."""
        before = self.manifest.store["state"]
        revision = self.manifest.revision + 1
        state = self.store.publish(self.catalogue, before, revision=revision, final=final)
        self.manifest = self.manifest.next(state, self.catalogue.counts())
        manifests.save(self.manifest, self.catalogue.directory)
        # The previous generation stays for readers that have just read the previous manifest.
        self.store.collect_garbage([before, state])


class LocalEmbedder:
    """Reads files in threads and embeds them here, in order, holding only a few pictures at a time.

    Args:
        encoder: the content encoder.
        known: whether a photo with this content hash is in the index already.
        workers: reading threads; default: one per core, at most four.
    """

    def __init__(self, encoder: ContentEncoder, known: set[str], workers: int | None = None):
        self.encoder = encoder
        self.known = known
        self.workers = workers or max(1, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))

    def __call__(self, tasks: list[Task]) -> Iterator[Entry]:
        """Embed files one after the other."""
        waiting: deque[Future[Decoded]] = deque()
        todo = iter(tasks)
        with ThreadPoolExecutor(self.workers, thread_name_prefix="raiha-read") as pool:
            try:
                for task in todo:
                    waiting.append(pool.submit(decode, task, self.known.__contains__))
                    if len(waiting) >= 2 * self.workers:
                        yield self._embed(waiting.popleft().result())
                while waiting:
                    yield self._embed(waiting.popleft().result())
            finally:
                for future in waiting:
                    future.cancel()

    def _embed(self, decoded: Decoded) -> Entry:
        entry = embed(decoded, self.encoder)
        if entry.hash is not None:
            self.known.add(entry.hash)
        return entry
