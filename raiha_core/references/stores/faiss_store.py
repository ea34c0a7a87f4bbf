"""FAISS: one file per generation beside the catalogue, exact for small indexes, inverted lists for large ones."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..manifest import damaged, sync_directory
from .base import State, Vector, VectorRows, VectorSource, VectorStore

if TYPE_CHECKING:
    import faiss

EXACT_UP_TO = 100_000
_FILE = "content.faiss"
_PREFIX = "vectors-"


class FaissStore(VectorStore):
    """Content vectors in FAISS; rows newer than the published file are searched exactly from memory.

    Up to `EXACT_UP_TO` vectors: exact inner product. Beyond: inverted lists of 16-bit floats (`IVF,SQfp16`): half the
    memory of floats, a million vectors of 256 numbers take 0.5 GB, read page by page through a memory map. 8-bit scalars
    halve that again but confuse near neighbours (recall@10 0.93 where this has 0.99); HNSW needs the vectors besides its
    graph, in memory, and takes far longer to build. Measured in docs/retrieval.md.
    """

    kind: ClassVar[str] = "faiss"

    def __init__(self, directory: Path, dim: int, light_dim: int, options: dict[str, Any]):
        super().__init__(directory, dim, light_dim, options)
        self.exact_up_to = int(options.get("exact_up_to", EXACT_UP_TO))
        self._index: faiss.Index | None = None
        self._tail: VectorRows | None = None

    def publish(self, source: VectorSource, state: State | None, *, revision: int, final: bool) -> State | None:
        """See `VectorStore.publish`: writes a new file once the rows it lacks, or holds in vain, are worth it."""
        published = int(state["count"]) if state else 0
        tail = source.count(after=int(state["last"]) if state else 0)
        stale = len(source.removed())
        if tail == 0 and stale == 0 and state is not None and not self.check(state):
            return state
        # In between, rewriting at each doubling keeps the whole build linear; a finished index tolerates a small tail.
        patience = max(20_000, published) if not final else (min(20_000, published // 10) if published > self.exact_up_to else 0)
        if state is not None and tail + stale <= patience and not self.check(state):
            return state
        if state is None and not final and tail <= patience:
            return None
        return self._rebuild(source, revision)

    def _rebuild(self, source: VectorSource, revision: int) -> State | None:
        import faiss

        count = source.count()
        removed = source.removed()
        folder = f"{_PREFIX}{revision:08d}"
        temporary, final = self.directory / f"{folder}.new", self.directory / folder
        for stale in (temporary, final):
            shutil.rmtree(stale, ignore_errors=True)
        temporary.mkdir()
        index = self._train(source, count)
        last = 0
        for rows in source.rows():
            index.add_with_ids(rows.content, rows.ids)
            last = int(rows.ids[-1])
        path = temporary / _FILE
        faiss.write_index(index, str(path))
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, final)
        sync_directory(self.directory)
        if removed:
            source.forget_removed()
        return {"folder": folder, "count": int(index.ntotal), "last": last, "bytes": (final / _FILE).stat().st_size}

    def _train(self, source: VectorSource, count: int) -> faiss.Index:
        import faiss

        if count <= self.exact_up_to:
            return faiss.IndexIDMap2(faiss.IndexFlatIP(self.dim))
        lists = list_count(count)
        index = faiss.index_factory(self.dim, f"IVF{lists},SQfp16", faiss.METRIC_INNER_PRODUCT)
        # Ten rounds and 40 vectors a list instead of FAISS' 25 and up to 256: a third of the time, the same recall.
        faiss.extract_index_ivf(index).cp.niter = 10
        index.train(_sample(source, count, lists * 40))
        return index

    def load(self, source: VectorSource, state: State | None) -> None:
        """See `VectorStore.load`: memory-maps the file, reads the tail."""
        import faiss

        self._index = None
        if state is not None:
            problems = self.check(state)
            if problems:
                raise damaged(self.directory, problems[0])
            path = str(self.directory / state["folder"] / _FILE)
            try:
                self._index = faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)
            except RuntimeError as error:
                raise damaged(self.directory, f"{state['folder']}/{_FILE}: {str(error).splitlines()[0][:100]}") from error
            if hasattr(self._index, "nlist"):
                faiss.extract_index_ivf(self._index).nprobe = probe_count(self._index.nlist)
            if self._index.d != self.dim:
                raise damaged(self.directory, f"{state['folder']}/{_FILE} holds vectors of another length")
        pieces = list(source.rows(after=int(state["last"]) if state else 0))
        self._tail = None
        if pieces:
            self._tail = VectorRows(
                np.concatenate([p.ids for p in pieces]),
                np.concatenate([p.content for p in pieces]),
                np.concatenate([p.illumination for p in pieces]),
            )

    def search(self, content: Vector, illumination: Vector | None, weight: float, limit: int) -> NDArray[np.int64]:
        """See `VectorStore.search`: by content alone."""
        import faiss

        query = np.ascontiguousarray(content[None], np.float32)
        scores, ids = [np.zeros(0, np.float32)], [np.zeros(0, np.int64)]
        if self._index is not None and self._index.ntotal:
            found, rows = self._index.search(query, min(limit, self._index.ntotal))
            scores.append(found[0][rows[0] >= 0])
            ids.append(rows[0][rows[0] >= 0])
        if self._tail is not None:
            found, rows = faiss.knn(query, self._tail.content, min(limit, len(self._tail.ids)), metric=faiss.METRIC_INNER_PRODUCT)
            scores.append(found[0])
            ids.append(self._tail.ids[rows[0]])
        order = np.argsort(-np.concatenate(scores), kind="stable")[:limit]
        best: NDArray[np.int64] = np.concatenate(ids)[order]
        return best

    def check(self, state: State | None) -> list[str]:
        """See `VectorStore.check`: the file is there and has its length."""
        if state is None:
            return []
        path = self.directory / str(state["folder"]) / _FILE
        if not path.is_file():
            return [f"{state['folder']}/{_FILE} is missing"]
        if path.stat().st_size != state["bytes"]:
            return [f"{state['folder']}/{_FILE} has {path.stat().st_size} bytes instead of {state['bytes']}"]
        return []

    def collect_garbage(self, keep: list[State | None]) -> None:
        """See `VectorStore.collect_garbage`; folders that another process holds open stay for the next time."""
        names = {state["folder"] for state in keep if state}
        for folder in self.directory.glob(_PREFIX + "*"):
            if folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)

    def destroy(self) -> None:
        """See `VectorStore.destroy`: everything lies in the index folder."""
        self.collect_garbage([])

    def close(self) -> None:
        """See `VectorStore.close`."""
        self._index = self._tail = None

    def describe(self) -> str:
        """Kind of search in a few words."""
        if self._index is not None and hasattr(self._index, "nlist"):
            return f"FAISS, {self._index.nlist} inverted lists of 16-bit vectors, memory-mapped"
        return "FAISS, exact"


def list_count(count: int) -> int:
    """Number of inverted lists: a power of two near 2 sqrt(N), at the lower end of the FAISS guidelines; training is fast."""
    return int(2 ** max(4, round(np.log2(2 * np.sqrt(count)))))


def probe_count(lists: int) -> int:
    """Number of lists to search: a sixty-fourth, at least 16."""
    return min(lists, max(16, lists // 64))


def _sample(source: VectorSource, count: int, wanted: int) -> Vector:
    """An even sample of all content vectors."""
    share = min(1.0, wanted / count)
    random = np.random.default_rng(0)
    return np.concatenate([rows.content[random.random(len(rows.ids)) < share] for rows in source.rows()])
