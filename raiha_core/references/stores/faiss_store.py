"""FAISS: a file per generation beside the catalogue, exact for small indexes, inverted lists for large ones; growth beside it."""

from __future__ import annotations

import os
import re
import shutil
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...atomic import replacing_folder
from ..manifest import damaged, sync_directory
from .base import State, Vector, VectorRows, VectorSource, VectorStore

if TYPE_CHECKING:
    import faiss

EXACT_UP_TO = 100_000
_FILE = "content.faiss"
_PREFIX = "vectors-"
_FOLDER = re.compile(r"vectors-[0-9a-f-]{1,40}")
_PIECE = 1 << 20
TAIL = 20_000
"""So many rows may be newer than the published files of a finished index, but no more than a tenth of the first."""
GROWTH = 10
"""Rows newer than a large file are written to a second one, instead of all of them anew, up to this fraction of the first."""


class FaissStore(VectorStore):
    """Content vectors in FAISS; rows newer than the published files are searched exactly from memory.

    A state names one file, and under `more`, in the same terms, one with the rows that came after it: what is added to a
    large index is written without what was there. Who does not know of `more` finds everything, too: `last` is that of the first file.

    Up to `EXACT_UP_TO` vectors: exact inner product. Beyond: inverted lists of 16-bit floats (`IVF,SQfp16`): half the
    memory of floats, a million vectors of 256 numbers take 0.5 GB, read page by page through a memory map. 8-bit scalars
    halve that again but confuse near neighbours (recall@10 0.93 where this has 0.99); HNSW needs the vectors besides its
    graph, in memory, and takes far longer to build. Measured in docs/retrieval.md.
    """

    kind: ClassVar[str] = "faiss"

    def __init__(self, directory: Path, dim: int, light_dim: int, options: dict[str, Any], tag: str = ""):
        super().__init__(directory, dim, light_dim, options, tag)
        self.exact_up_to = int(options.get("exact_up_to", EXACT_UP_TO))
        self._indexes: list[faiss.Index] = []
        self._tail: VectorRows | None = None

    def publish(self, source: VectorSource, state: State | None, *, revision: int, final: bool) -> State | None:
        """See `VectorStore.publish`: writes a new file once the rows it lacks, or holds in vain, are worth it."""
        pieces = _pieces(state) if state is not None and not self.check(state) else []
        if state is None and not final and source.count() <= TAIL:
            return None
        if not pieces:
            return self._write(source, revision)
        first, published = int(pieces[0]["count"]), sum(int(piece["count"]) for piece in pieces)
        tail, stale = source.count(after=int(pieces[-1]["last"])), len(source.removed())
        # In between, rewriting at each doubling keeps the whole build linear; a finished index tolerates a small tail.
        if tail + stale <= (min(TAIL, first // GROWTH) if final else max(TAIL, published)):
            return state
        if final and published - first + tail + stale <= first // GROWTH:
            return {**pieces[0], "more": self._write(source, revision, after=int(pieces[0]["last"]))}
        return self._write(source, revision)

    def _write(self, source: VectorSource, revision: int, after: int = 0) -> State:
        """Write a file of all rows greater than `after`; what it is, for the state."""
        import faiss

        count = source.count(after)
        removed = source.removed()
        folder = f"{_PREFIX}{self.tag}-{revision:08d}" if self.tag else f"{_PREFIX}{revision:08d}"
        final = self.directory / folder
        index = self._train(source, count, after)
        last = after
        for rows in source.rows(after, light=False):
            index.add_with_ids(rows.content, rows.ids)
            last = int(rows.ids[-1])
        with replacing_folder(final) as part, open(part / _FILE, "wb") as file:
            # Through Python's file: FAISS itself cannot open names outside ASCII on Windows.
            faiss.write_index(index, faiss.PyCallbackIOWriter(file.write, _PIECE))  # type: ignore[attr-defined]
            file.flush()
            os.fsync(file.fileno())
        sync_directory(self.directory)
        if removed and not after:
            source.forget_removed()
        size, crc = _sum(final / _FILE)
        return {"folder": folder, "count": int(index.ntotal), "last": last, "bytes": size, "crc": crc}

    def _train(self, source: VectorSource, count: int, after: int) -> faiss.Index:
        import faiss

        if count <= self.exact_up_to:
            return faiss.IndexIDMap2(faiss.IndexFlatIP(self.dim))
        lists = list_count(count)
        index = faiss.index_factory(self.dim, f"IVF{lists},SQfp16", faiss.METRIC_INNER_PRODUCT)
        # Ten rounds and 40 vectors a list instead of FAISS' 25 and up to 256: a third of the time, the same recall.
        faiss.extract_index_ivf(index).cp.niter = 10
        index.train(_sample(source, count, lists * 40, after))
        return index

    def load(self, source: VectorSource, state: State | None) -> None:
        """See `VectorStore.load`: memory-maps a large file, reads a small one, and the tail."""
        self._indexes = []
        files = _pieces(state)
        problems = self.check(state)
        if problems:
            raise damaged(self.directory, problems[0])
        for piece in files:
            index = self._read(piece)
            if index.d != self.dim or index.ntotal != piece["count"]:
                raise damaged(self.directory, f"{piece['folder']}/{_FILE} holds other vectors than it should")
            self._indexes.append(index)
        pieces = list(source.rows(after=int(files[-1]["last"]) if files else 0, light=False))
        self._tail = None
        if pieces:
            self._tail = VectorRows(
                np.concatenate([p.ids for p in pieces]),
                np.concatenate([p.content for p in pieces]),
                np.concatenate([p.illumination for p in pieces]),
            )

    def _read(self, state: State) -> faiss.Index:
        """The index in a published file; a damaged one is told by its checksum where all of it is read."""
        import faiss

        path = self.directory / str(state["folder"]) / _FILE
        name = f"{state['folder']}/{_FILE}"
        try:
            mapping = getattr(faiss, "IO_FLAG_MMAP_IFC", faiss.IO_FLAG_MMAP)
            if state["count"] > self.exact_up_to and (os.name != "nt" or str(path).isascii()):
                index = faiss.read_index(str(path), mapping)
            else:
                if _sum(path)[1] != state["crc"]:
                    raise damaged(self.directory, f"{name} is not as it was written")
                with open(path, "rb") as file:
                    index = faiss.read_index(faiss.PyCallbackIOReader(file.read, _PIECE))  # type: ignore[attr-defined]
        except (RuntimeError, OSError) as error:
            raise damaged(self.directory, f"{name}: {str(error).splitlines()[0][:100]}") from error
        if hasattr(index, "nlist"):
            faiss.extract_index_ivf(index).nprobe = probe_count(index.nlist)
        return index

    def search(self, content: Vector, illumination: Vector | None, weight: float, limit: int) -> NDArray[np.int64]:
        """See `VectorStore.search`: by content alone."""
        import faiss

        query = np.ascontiguousarray(content[None], np.float32)
        scores, ids = [np.zeros(0, np.float32)], [np.zeros(0, np.int64)]
        for index in self._indexes:
            if not index.ntotal:
                continue
            found, rows = index.search(query, min(limit, index.ntotal))
            scores.append(found[0][rows[0] >= 0])
            ids.append(rows[0][rows[0] >= 0])
        if self._tail is not None:
            found, rows = faiss.knn(query, self._tail.content, min(limit, len(self._tail.ids)), metric=faiss.METRIC_INNER_PRODUCT)
            scores.append(found[0])
            ids.append(self._tail.ids[rows[0]])
        order = np.argsort(-np.concatenate(scores), kind="stable")[:limit]
        best: NDArray[np.int64] = np.concatenate(ids)[order]
        return best

    def check(self, state: State | None, *, thorough: bool = False) -> list[str]:
        """See `VectorStore.check`: the file is there and has its length, and, if `thorough`, its checksum."""
        for piece in _pieces(state):
            found = self._check(piece, thorough)
            if found:
                return [found]
        return []

    def _check(self, piece: State, thorough: bool) -> str:
        # The state may come from a damaged or a foreign manifest.
        folder = piece.get("folder")
        numbers = [piece.get(key) for key in ("count", "last", "bytes", "crc")]
        if not (isinstance(folder, str) and _FOLDER.fullmatch(folder)) or not all(type(n) is int and n >= 0 for n in numbers):
            return "manifest.json does not say which vectors are published"
        path = self.directory / folder / _FILE
        if not path.is_file():
            return f"{folder}/{_FILE} is missing"
        if path.stat().st_size != piece["bytes"]:
            return f"{folder}/{_FILE} has {path.stat().st_size} bytes instead of {piece['bytes']}"
        if thorough and _sum(path)[1] != piece["crc"]:
            return f"{folder}/{_FILE} is not as it was written"
        return ""

    def collect_garbage(self, keep: list[State | None]) -> None:
        """See `VectorStore.collect_garbage`; folders that another process holds open stay for the next time."""
        names = {piece["folder"] for state in keep for piece in _pieces(state)}
        for folder in self.directory.glob(f"{_PREFIX}{self.tag}*"):
            if folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)

    def destroy(self) -> None:
        """See `VectorStore.destroy`: everything lies in the index folder."""
        self.collect_garbage([])

    def close(self) -> None:
        """See `VectorStore.close`."""
        self._indexes, self._tail = [], None

    def describe(self) -> str:
        """Kind of search in a few words."""
        if self._indexes and hasattr(self._indexes[0], "nlist"):
            return f"FAISS, {self._indexes[0].nlist} inverted lists of 16-bit vectors, memory-mapped"
        return "FAISS, exact"


def _pieces(state: State | None) -> list[State]:
    """The files that a state names, oldest rows first."""
    if state is None:
        return []
    more = state.get("more")
    return [state] if more is None else [state, more if isinstance(more, dict) else {}]


def _sum(path: Path) -> tuple[int, int]:
    """Length and CRC-32 of a file."""
    size = crc = 0
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            size, crc = size + len(piece), zlib.crc32(piece, crc)
    return size, crc


def list_count(count: int) -> int:
    """Number of inverted lists: a power of two near 2 sqrt(N), at the lower end of the FAISS guidelines; training is fast."""
    return int(2 ** max(4, round(np.log2(2 * np.sqrt(count)))))


def probe_count(lists: int) -> int:
    """Number of lists to search: a sixty-fourth, at least 16."""
    return min(lists, max(16, lists // 64))


def _sample(source: VectorSource, count: int, wanted: int, after: int) -> Vector:
    """An even sample of the content vectors of the `count` rows greater than `after`."""
    share = min(1.0, wanted / count)
    random = np.random.default_rng(0)
    return np.concatenate([rows.content[random.random(len(rows.ids)) < share] for rows in source.rows(after, light=False)])
