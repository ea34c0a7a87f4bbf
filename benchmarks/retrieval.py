"""Measure the index: recall, latency and memory of the vectors, and a whole retrieval.

    python benchmarks/retrieval.py scale --index DIR [--sizes 10000 100000 1000000]
    python benchmarks/retrieval.py library --index DIR [--photos 10000]

DIR is any index; its vectors are the pattern of the synthetic ones. Every command prints JSON. The protocols stand in
docs/retrieval.md; what is found, rather than how fast, is measured by retrieval_quality.py.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raiha_core.content.base import ContentEncoder, ContentFeatures
from raiha_core.illumination import DESCRIPTOR_DIM, describe
from raiha_core.references import ReferenceIndex
from raiha_core.references import manifest as manifests
from raiha_core.references.builder import Writer
from raiha_core.references.catalogue import Catalogue
from raiha_core.references.folder import open_store
from raiha_core.references.lookalike import BYTES
from raiha_core.references.regions import REGIONS
from raiha_core.references.rows import Entry
from raiha_core.references.stores import Access, VectorRows
from raiha_core.references.stores.faiss_store import FaissStore

BATCH = 20_000


class Synthetic:
    """Many vectors with the structure of a few real ones.

    Each lies between a real region vector and one of its ten nearest neighbours, plus noise as large as a third of the
    distance between those two: dense where real photos are dense, with neighbours at real distances.
    """

    def __init__(self, real: np.ndarray, count: int):
        import faiss

        self.real, self.total = real, count
        # One block of noise, taken in another order each time: drawing anew would take longer than the index.
        self.noise = np.random.default_rng(1).standard_normal((BATCH, real.shape[1]), np.float32)
        _, self.near = faiss.knn(real, real, 11, metric=faiss.METRIC_INNER_PRODUCT)

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """New vectors `(count, D)`, unit length."""
        a = rng.integers(len(self.real), size=count)
        b = self.near[a, rng.integers(1, 11, size=count)]
        step = self.real[b] - self.real[a]
        size = np.linalg.norm(step, axis=1, keepdims=True) / 3 / step.shape[1] ** 0.5
        noise = self.noise[rng.integers(BATCH, size=count)] * size
        mixed = self.real[a] + rng.random((count, 1), np.float32) * step + noise
        unit: np.ndarray = (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def count(self, after: int = 0) -> int:
        """See `VectorSource`."""
        return max(0, self.total - after)

    def rows(self, after: int = 0, batch: int = BATCH, light: bool = False) -> Iterator[VectorRows]:
        """See `VectorSource`; the same vectors each time, never all in memory."""
        for start in range(0, self.total, BATCH):
            size = min(BATCH, self.total - start)
            ids = np.arange(start + 1, start + size + 1)
            if ids[-1] > after:
                yield VectorRows(ids, self.draw(np.random.default_rng(start), size), np.zeros((size, 1), np.float32))

    def removed(self) -> list[int]:
        """See `VectorSource`."""
        return []

    def forget_removed(self) -> None:
        """See `VectorSource`."""


def peak_memory() -> int:
    """Largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def milliseconds(action: Callable[[int], Any], count: int) -> dict[str, float]:
    """p50 and p95 of the wall time of `action(0) ... action(count - 1)`, and of its processor time.

    On a machine that does other things besides, the processor time on one thread is what a free core would take.
    """
    taken = []
    for i in range(count):
        start = time.perf_counter(), time.process_time()
        action(i)
        taken.append((1000 * (time.perf_counter() - start[0]), 1000 * (time.process_time() - start[1])))
    wall, processor = np.array(taken).T
    return {
        f"{name}p{share}_ms": round(float(np.percentile(values, share)), 2)
        for name, values in (("", wall), ("cpu_", processor))
        for share in (50, 95)
    }


def real_vectors(index: str) -> np.ndarray:
    """Whole-image and region vectors of an index, at most 20,000."""
    folder = Path(index)
    pieces = [rows.content for rows in Catalogue(folder, manifests.load(folder)).rows(light=False)]
    vectors = np.concatenate(pieces)
    chosen = np.random.default_rng(0).permutation(len(vectors))[:20_000]
    return np.ascontiguousarray(vectors[chosen])


def scale(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Build and search at each size, each in a process of its own, so that peak memory is its own."""
    results = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
            command = [sys.executable, __file__, "_build", "--index", options.index, "--sizes", str(size), "--scratch", folder]
            built = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            command[2] = "_search"
            searched = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            results.append({"vectors": size, **built, **searched})
            print(json.dumps(results[-1]), file=sys.stderr)
    return results


def build_scale(options: argparse.Namespace) -> dict[str, Any]:
    """Publish synthetic vectors, and write queries with their true neighbours."""
    import faiss

    source = Synthetic(real_vectors(options.index), options.sizes[0])
    before = peak_memory()
    start = time.perf_counter()
    store = FaissStore(Path(options.scratch), source.real.shape[1], 1, {})
    state = store.publish(source, None, revision=1, final=True)
    assert state is not None
    seconds = time.perf_counter() - start
    result = {"build_s": round(seconds, 1), "build_mb": peak_memory(), "before_mb": before, "disk_mb": state["bytes"] // 1_000_000}
    queries = source.draw(np.random.default_rng(10**9), options.queries)
    best = [(np.zeros((len(queries), 0), np.float32), np.zeros((len(queries), 0), np.int64))]
    for rows in source.rows():
        scores, found = faiss.knn(queries, rows.content, 10, metric=faiss.METRIC_INNER_PRODUCT)
        best.append((scores, rows.ids[found]))
    scores, ids = (np.concatenate(parts, 1) for parts in zip(*best, strict=True))
    truth = np.take_along_axis(ids, np.argsort(-scores, axis=1)[:, :10], 1)
    np.savez(Path(options.scratch, "truth.npz"), queries=queries, truth=truth)
    Path(options.scratch, "state.json").write_text(json.dumps(state))
    return result


class _Nothing(Synthetic):
    """A source without rows after those published, for opening what was built."""

    def __init__(self) -> None:
        self.total = 0


def search_scale(options: argparse.Namespace) -> dict[str, Any]:
    """Open what was published, and search."""
    folder = Path(options.scratch)
    data = np.load(folder / "truth.npz")
    queries, truth = data["queries"], data["truth"]
    store = FaissStore(folder, queries.shape[1], 1, {})
    before = peak_memory()
    store.load(_Nothing(), json.loads((folder / "state.json").read_text()))
    for query in queries[:20]:
        store.search(query, None, 0.0, 10)
    found: dict[int, set[int]] = {}
    times = milliseconds(lambda i: found.__setitem__(i, set(store.search(queries[i], None, 0.0, 10).tolist())), len(queries))
    recall = np.mean([len(found[i] & set(truth[i].tolist())) / 10 for i in range(len(queries))])
    wide = milliseconds(lambda i: store.search(queries[i], None, 0.0, 256), len(queries))
    return {
        "kind": store.describe(), "recall_at_10": round(float(recall), 4), **times,
        **{f"{key}_256": value for key, value in wide.items()}, "search_mb": peak_memory(), "python_mb": before,
    }  # fmt: skip


class _Fixed(ContentEncoder):
    """Gives prepared vectors, so that only the search is timed."""

    id, weights_hash, dim = "fixed", "0", 256

    def __init__(self, vectors: np.ndarray):
        self.vectors, self.turn = torch.from_numpy(vectors), 0
        self.dim = vectors.shape[1]

    def encode(self, images: Tensor) -> ContentFeatures:
        """The next vector, whatever is shown."""
        self.turn += 1
        return ContentFeatures(self.vectors[self.turn % len(self.vectors)][None], torch.zeros(1, 1, 1, 1))


def library(options: argparse.Namespace) -> dict[str, Any]:
    """Time a whole `retrieve`, from a query already embedded, over an index of many photos."""
    source = Synthetic(real_vectors(options.index), options.photos * len(REGIONS))
    rng = np.random.default_rng(3)
    encoder = _Fixed(source.draw(rng, 200))
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        gallery, folder = Path(scratch, "g"), Path(scratch, "i")
        gallery.mkdir()
        ReferenceIndex.build(gallery, folder, encoder).close()
        made = manifests.load(folder)
        catalogue = Catalogue(folder, made, write=True)
        writer = Writer(catalogue, open_store(folder, made, Access()), made)
        entries = []
        for i, start in enumerate(range(0, options.photos * len(REGIONS), len(REGIONS))):
            (gallery / f"{i}.jpg").touch()
            stamp = (gallery / f"{i}.jpg").stat().st_mtime_ns
            light = torch.from_numpy(rng.random(DESCRIPTOR_DIM).astype(np.float32) * 0.05)
            vectors = source.draw(np.random.default_rng(start), len(REGIONS))
            entries.append(
                Entry(1, f"{i}.jpg", 0, stamp, f"{i:064x}"[::-1], None, 300, 200, rng.bytes(BYTES), light.numpy(), vectors, "", REGIONS)
            )
        catalogue.put(entries)
        writer.publish()
        composite, mask = torch.rand(1, 3, 200, 300), torch.zeros(1, 1, 200, 300)
        mask[..., 50:150, 100:200] = 1
        with ReferenceIndex.open(folder, encoder) as index:
            index.retrieve(composite, mask)
            start_light = milliseconds(lambda i: describe(composite, mask), 50)
            times = milliseconds(lambda i: index.retrieve(composite, mask, k=8), 200)
            return {"photos": len(index), "regions": index.info()["regions"], **times, "of_which_describing_light": start_light}


def main() -> None:
    """Run one measurement."""
    commands = {"scale": scale, "library": library, "_build": build_scale, "_search": search_scale}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=commands)
    parser.add_argument("--index", required=True, help="an index, for the pattern of its vectors")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--scratch", default=None, help="where temporary files go")
    options = parser.parse_args()
    with torch.inference_mode():
        print(json.dumps(commands[options.command](options), indent=2))


if __name__ == "__main__":
    main()
