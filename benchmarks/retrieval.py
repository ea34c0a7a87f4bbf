"""Measure retrieval: recall, latency, memory and build rate of the vector index; quality of content and light.

    python benchmarks/retrieval.py scale --index DIR [--sizes 10000 100000 1000000]
    python benchmarks/retrieval.py library --photos 10000
    python benchmarks/retrieval.py content --data FOLDER --index DIR
    python benchmarks/retrieval.py light --data FOLDER

`--data` is a folder with photos/, masks.jsonl and pairs.jsonl; the index for `content` is built there from photos/ and
pairs/ first (resumable). Every command prints one JSON object. The protocols stand in docs/retrieval.md.
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
from torch.nn import functional as F

from raiha_core.content import load_encoder
from raiha_core.content.base import ContentEncoder, ContentFeatures
from raiha_core.illumination import DESCRIPTOR_DIM, describe, similarity
from raiha_core.image.colour import linear_to_srgb, srgb_to_linear
from raiha_core.references import ReferenceIndex
from raiha_core.references.builder import Writer
from raiha_core.references.catalogue import Catalogue, Entry
from raiha_core.references.checks import open_store
from raiha_core.references.lookalike import BYTES
from raiha_core.references.photos import as_tensor, read_photo
from raiha_core.references.query import foreground_box
from raiha_core.references.regions import REGIONS, cut
from raiha_core.references.stores import VectorRows
from raiha_core.references.stores.faiss_store import FaissStore

BATCH = 20_000
LEFT, RIGHT, TOP, BOTTOM = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 0.5), (0.0, 0.5, 1.0, 1.0)


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
        return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)

    def count(self, after: int = 0) -> int:
        """See `VectorSource`."""
        return max(0, self.total - after)

    def rows(self, after: int = 0, batch: int = BATCH) -> Iterator[VectorRows]:
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
    pieces = [rows.content for rows in Catalogue(Path(index)).rows()]
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
        with ReferenceIndex.open(folder, encoder) as empty:
            catalogue = Catalogue(folder)
            writer = Writer(catalogue, open_store(folder, empty._manifest, None), empty._manifest)
        entries = []
        for i, start in enumerate(range(0, options.photos * len(REGIONS), len(REGIONS))):
            (gallery / f"{i}.jpg").touch()
            light = torch.from_numpy(rng.random(DESCRIPTOR_DIM).astype(np.float32) * 0.05)
            vectors = source.draw(np.random.default_rng(start), len(REGIONS))
            entries.append(Entry(1, f"{i}.jpg", 0, 0, f"{i:064x}"[::-1], None, 300, 200, rng.bytes(BYTES), light.numpy(), vectors))
        catalogue.put(entries, REGIONS)
        writer.publish()
        composite, mask = torch.rand(1, 3, 200, 300), torch.zeros(1, 1, 200, 300)
        mask[..., 50:150, 100:200] = 1
        with ReferenceIndex.open(folder, encoder) as index:
            index.retrieve(composite, mask)
            start_light = milliseconds(lambda i: describe(composite, mask), 50)
            times = milliseconds(lambda i: index.retrieve(composite, mask, k=8), 200)
            return {"photos": len(index), "regions": index.info()["regions"], **times, "of_which_describing_light": start_light}


# --- quality


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def load(path: Path, side: int = 320) -> Tensor:
    """A photo `(1, 3, H, W)`."""
    return as_tensor(read_photo(path, side)[0])


def histogram(image: Tensor, counts: Tensor | None = None) -> np.ndarray:
    """The baseline: 8 x 8 x 8 colour histogram of the pixels that count, sums to 1."""
    bins = (image[0].clamp(0, 1) * 7.999).long()
    flat = (bins[0] * 64 + bins[1] * 8 + bins[2]).flatten()
    weights = torch.ones(flat.shape) if counts is None else counts.flatten().float()
    result: np.ndarray = (torch.bincount(flat, weights, 512) / weights.sum().clamp_min(1)).numpy()
    return result


def relight(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Another light: exposure by up to about a stop, colour by up to about a third of a stop, contrast."""
    gains = 2 ** (rng.normal(0, 0.5) + rng.normal(0, 0.3, 3))
    linear = srgb_to_linear(image) * torch.tensor(gains, dtype=torch.float32).view(1, 3, 1, 1)
    return linear_to_srgb(linear.clamp(0, 1)) ** float(2 ** rng.normal(0, 0.2))


def paste(photo: Tensor, mask: Tensor, background: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The object, relit and mirrored, on another photo at its own size and place."""
    size = (int(photo.shape[-2]), int(photo.shape[-1]))
    scene = F.interpolate(background, size, mode="bilinear", antialias=True, align_corners=False)
    subject, area = relight(photo, rng).flip(-1), mask.flip(-1)
    return scene * (1 - area) + subject * area, area


def content(options: argparse.Namespace) -> dict[str, Any]:
    """Recall of the same object and the same scene among all photos; agreement of object classes."""
    data = Path(options.data)
    encoder = load_encoder("embedded")
    start = time.perf_counter()
    index = ReferenceIndex.build([data / "photos", data / "pairs"], options.index, encoder)
    seconds = time.perf_counter() - start
    catalogue = Catalogue(Path(options.index))
    places = dict(zip((r.id for r in catalogue.roots()), index.galleries, strict=True))
    files = {f.image: places[f.root] / f.path for f in catalogue.files() if f.image is not None}
    print(f"{len(files)} photos, build {seconds:.0f} s; histograms", file=sys.stderr)
    rows, colours = [], []
    for row, path in files.items():
        image = load(path, 128)
        rows += [row] * len(REGIONS)
        colours.append(np.stack([histogram(cut(image, box)) for box in REGIONS]))
    table, owners = np.concatenate(colours), np.array(rows)
    known = set(files.values())
    rng = np.random.default_rng(5)
    masks = lines(data / "masks.jsonl")
    masks = [m for m in masks if m["label"] not in ("region", "sky", "road") and 0.03 <= (m["area"] or 0) <= 0.4]
    masks = [m for m in masks if data / m["photo"] in known]
    labels: dict[str, set[str]] = {}
    for m in masks:
        labels.setdefault(m["photo"], set()).add(m["label"] or "")
    scenes = {}
    for pair in lines(data / "pairs.jsonl"):
        if not pair["kind"].startswith("ALGO") and {data / pair["a"], data / pair["b"]} <= known:
            scenes.setdefault((pair["source"], pair["scene"]), set()).update((pair["a"], pair["b"]))

    def by_colour(composite: Tensor, mask: Tensor, out: set[Path]) -> list[Path]:
        y0, y1, x0, x1 = foreground_box(mask)
        scores = np.minimum(table, histogram(composite[..., y0:y1, x0:x1])).sum(1)
        found: dict[Path, None] = {}
        for i in np.argsort(-scores)[:400]:
            if files[owners[i]] not in out:
                found[files[owners[i]]] = None
        return list(found)[:5]

    def ours(composite: Tensor, mask: Tensor, out: set[Path]) -> list[Path]:
        return [r.path for r in index.retrieve(composite, mask, 5, weight=0.0, excluded=out, deduplicate=False)]

    methods = {"embedded": ours, "colour histogram": by_colour}
    hits: dict[str, dict[str, list[float]]] = {
        kind: {name: [] for name in (*methods, "random")} for kind in ("pasted", "in place", "scene", "class")
    }

    def ask(kind: str, composite: Tensor, mask: Tensor, wanted: set[Path], out: set[Path], share: bool = False) -> None:
        for name, method in methods.items():
            found = method(composite, mask, out)
            hits[kind][name].append(len(wanted & set(found)) / 5 if share else float(bool(wanted & set(found))))
        chance = len(wanted) / len(files)
        hits[kind]["random"].append(chance if share else 1 - (1 - chance) ** 5)

    for number in rng.permutation(len(masks))[: options.queries]:
        m = masks[number]
        photo = load(data / m["photo"])
        mask = (load(data / m["mask"])[:, :1] > 0.5).float()
        if mask.shape[-2:] != photo.shape[-2:]:
            mask = F.interpolate(mask, photo.shape[-2:])
        if not bool(mask.any()):
            continue
        other = files[int(rng.choice(list(files)))]
        composite, area = paste(photo, mask, load(other), rng)
        ask("pasted", composite, area, {data / m["photo"]}, {other})
        ask("in place", relight(photo, rng).flip(-1), area, {data / m["photo"]}, set())
        if m["label"]:
            same = {data / name for name, found in labels.items() if m["label"] in found} - {data / m["photo"]}
            ask("class", composite, area, same, {other, data / m["photo"]}, share=True)
    names = sorted(scenes)
    for number in rng.permutation(len(names))[: options.queries]:
        group = sorted(scenes[names[number]])
        own, rest = data / group[0], {data / name for name in group[1:]}
        photo = load(own)
        mask = torch.zeros_like(photo[:, :1])
        h, w = photo.shape[-2:]
        top, left = int(rng.uniform(0, 0.5) * h), int(rng.uniform(0, 0.5) * w)
        mask[..., top : top + h // 2, left : left + w // 2] = 1
        ask("scene", photo, mask, rest, {own})
    means = {kind: {name: round(float(np.mean(values)), 3) for name, values in found.items()} for kind, found in hits.items()}
    return {"photos": len(files), "queries": {kind: len(found["random"]) for kind, found in hits.items()}, **means}


def light(options: argparse.Namespace) -> dict[str, Any]:
    """How often the photo with the query's light ranks above its twin with the other light."""
    data = Path(options.data)
    pairs = [p for p in lines(data / "pairs.jsonl") if not p["kind"].startswith("ALGO")]
    rng = np.random.default_rng(0)
    won: dict[str, dict[str, list[float]]] = {}
    for number, pair in enumerate(pairs):
        a, b = load(data / pair["a"]), load(data / pair["b"])
        if a.shape != b.shape:
            b = F.interpolate(b, a.shape[-2:], mode="bilinear", antialias=True, align_corners=False)
        for turn, (same, twin) in enumerate(((a, b), (b, a))):
            halves = (LEFT, RIGHT) if a.shape[-1] >= a.shape[-2] else (TOP, BOTTOM)
            seen, unseen = halves if (number + turn) % 2 == 0 else halves[::-1]
            query = cut(same, seen).clone()
            h, w = query.shape[-2:]
            height, width = int(h * rng.uniform(0.3, 0.55)), int(w * rng.uniform(0.3, 0.55))
            top, left = int(rng.integers(h - height)), int(rng.integers(w - width))
            mask = torch.zeros(1, 1, h, w)
            mask[..., top : top + height, left : left + width] = 1
            # A foreground of some plain colour, which must not matter.
            query = torch.where(mask > 0, torch.tensor(rng.random(3), dtype=torch.float32).view(1, 3, 1, 1), query)
            for name, ranked in (("disjoint halves", (cut(same, unseen), cut(twin, unseen))), ("half against whole", (same, twin))):
                for method, scores in _light_scores(query, mask, ranked).items():
                    won.setdefault(f"{name}: {method}", {}).setdefault(pair["kind"], []).append(float(scores[0] > scores[1]))
    result: dict[str, Any] = {"pairs": len(pairs), "queries": 2 * len(pairs), "random": 0.5}
    for name, kinds in won.items():
        everything = [value for values in kinds.values() for value in values]
        result[name] = {"all": round(float(np.mean(everything)), 4), **{k: round(float(np.mean(v)), 3) for k, v in kinds.items()}}
    return result


def _light_scores(query: Tensor, mask: Tensor, ranked: tuple[Tensor, Tensor]) -> dict[str, tuple[float, float]]:
    ours = describe(query, mask)
    scores = {"ours": tuple(float(similarity(ours, describe(photo))[0]) for photo in ranked)}
    colours, outside = histogram(query, mask < 0.5), (mask < 0.5).expand_as(query)
    scores["colour histogram"] = tuple(float(np.minimum(colours, histogram(photo)).sum()) for photo in ranked)
    mean = query[outside].view(3, -1).mean(1)
    scores["mean colour"] = tuple(-float((photo.mean((0, 2, 3)) - mean).norm()) for photo in ranked)
    return {name: (pair[0], pair[1]) for name, pair in scores.items()}


def main() -> None:
    """Run one measurement."""
    commands = {"scale": scale, "library": library, "content": content, "light": light, "_build": build_scale, "_search": search_scale}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=commands)
    parser.add_argument("--data", default="/work/shared/data", help="photos/, masks.jsonl, pairs.jsonl")
    parser.add_argument("--index", help="index folder: built by `content`, read by `scale` and `library`")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--scratch", default=None, help="where temporary files go")
    options = parser.parse_args()
    if options.index is None and options.command != "light":
        parser.error("--index is needed")
    with torch.inference_mode():
        print(json.dumps(commands[options.command](options), indent=2))


if __name__ == "__main__":
    main()
