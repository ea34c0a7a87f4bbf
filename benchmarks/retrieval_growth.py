"""Measure how an index grows: a gallery is built, killed, resumed, updated and searched, at several sizes, up to a million vectors.

    python benchmarks/retrieval_growth.py --index DIR [--sizes 667 6667 66667] [--scratch DIR]

The gallery is a folder of files that are walked and catalogued as photos are, with as many vectors each as the built-in encoder gives, 15.
Drawn instead of read is what a photo shows: vectors like those of the index DIR (see `retrieval.Synthetic`), light, look. So this is
what the index itself costs; reading, encoder and light are measured by retrieval_build.py. Every step is a process of its own, whose
processor time, memory and written bytes are reported. The first build is killed when half of it is done; --update photos
are added, --rounds times. How each figure grows with the number of vectors is fitted as a power. Prints JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from retrieval import Synthetic, milliseconds, real_vectors
from torch import Tensor

from raiha_core.content.base import ContentEncoder, ContentFeatures
from raiha_core.content.embedded import DIM, EmbeddedEncoder
from raiha_core.illumination import DESCRIPTOR_DIM
from raiha_core.references import ReferenceIndex, maintenance
from raiha_core.references.embed import Task
from raiha_core.references.lookalike import BYTES
from raiha_core.references.regions import REGIONS
from raiha_core.references.rows import Entry

BOXES = (*REGIONS, *EmbeddedEncoder.more_regions)
FOLDER_SIZE = 1000
QUERIES = 200
FITTED = ("build_cpu_s", "update_cpu_s", "unchanged_cpu_s", "open_cpu_s", "cpu_p50_ms", "disk_mb", "build_mb", "search_mb")


class Drawn(ContentEncoder):
    """Query vectors like those of real photos."""

    id, weights_hash, dim = "drawn", "0", DIM

    def __init__(self, index: str):
        self.pattern = Synthetic(real_vectors(index), 0)
        self._turn = np.random.default_rng(7)

    def encode(self, images: Tensor) -> ContentFeatures:
        """See `ContentEncoder.encode`."""
        return ContentFeatures(torch.from_numpy(self.pattern.draw(self._turn, len(images))), torch.zeros(len(images), 1, 1, 1))


class DrawnPhotos:
    """In place of `LocalEmbedder`: what each file shows is drawn, the same whenever it is asked for."""

    def __init__(self, encoder: Drawn, known: set[str], workers: int | None = None):
        self.pattern = encoder.pattern

    def __call__(self, tasks: list[Task]) -> Iterator[Entry]:
        """What the index keeps of each file."""
        for task in tasks:
            digest = hashlib.sha256(task.path.encode())
            rng = np.random.default_rng(int.from_bytes(digest.digest()[:8], "little"))
            light = rng.random(DESCRIPTOR_DIM).astype(np.float32) * 0.05
            yield Entry(
                task.root, task.path, task.size, task.mtime, digest.hexdigest(), None, 300, 200, rng.bytes(BYTES), light,
                self.pattern.draw(rng, len(BOXES)), "", BOXES,
            )  # fmt: skip


def make_photos(gallery: Path, first: int, count: int) -> None:
    """Write files `first` and following, a thousand in a folder."""
    for number in range(first, first + count):
        place = gallery / f"{number // FOLDER_SIZE:04d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:07d}.jpg").write_text(str(number))


def written() -> int:
    """Bytes that this process has handed to the disk so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes")).split()[1])


def build_step(options: argparse.Namespace) -> dict[str, Any]:
    """Build the index or bring it up to date; says how far it is, so that it can be killed."""
    encoder = Drawn(options.index)
    maintenance.LocalEmbedder = DrawnPhotos  # type: ignore[assignment, attr-defined, misc]
    start = time.perf_counter(), time.process_time(), written()

    def progress(done: int, total: int) -> None:
        if done % 100 == 0 or done == total:
            print(json.dumps({"done": done, "total": total}), flush=True)

    with ReferenceIndex.build(options.gallery, options.made, encoder, progress=progress) as index:
        took = time.perf_counter() - start[0], time.process_time() - start[1]
        return {
            "s": round(took[0], 1), "cpu_s": round(took[1], 2), "written_mb": (written() - start[2]) // 1_000_000,
            "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "photos": len(index), "vectors": index.info()["regions"],
        }  # fmt: skip


def search_step(options: argparse.Namespace) -> dict[str, Any]:
    """Open, and retrieve with prepared query vectors."""
    encoder = Drawn(options.index)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    start = time.process_time()
    with ReferenceIndex.open(options.made, encoder) as index:
        opened = time.process_time() - start
        composite = torch.rand(1, 3, 128, 192, generator=torch.Generator().manual_seed(0))
        mask = torch.zeros(1, 1, 128, 192)
        mask[..., 40:90, 60:130] = 1
        shades = [composite * (0.5 + 0.5 * i / QUERIES) for i in range(QUERIES)]
        times = milliseconds(lambda i: index.retrieve(shades[i], mask), QUERIES)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        return {"open_cpu_s": round(opened, 2), **times, "search_mb": memory, "python_mb": before, "store": index.info()["store"]}


def verify_step(options: argparse.Namespace) -> dict[str, Any]:
    """Read all of it and compare every checksum."""
    start = time.process_time()
    with ReferenceIndex.open(options.made, Drawn(options.index)) as index:
        return {"sound": index.verify().sound, "cpu_s": round(time.process_time() - start, 1)}


STEPS = {"_build": build_step, "_search": search_step, "_verify": verify_step}


def run(step: str, options: argparse.Namespace, kill_at: int | None = None) -> dict[str, Any]:
    """A step in a process of its own; with `kill_at` it is killed after so many photos."""
    command = [sys.executable, __file__, step, "--index", options.index, "--gallery", options.gallery, "--made", options.made]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        latest: dict[str, Any] = {}
        for line in process.stdout:
            latest = json.loads(line)
            if kill_at is not None and latest.get("done", 0) >= kill_at:
                process.send_signal(signal.SIGKILL)
                break
    if kill_at is None and process.returncode:
        raise SystemExit(f"{step} ended with status {process.returncode}")
    return latest


def sizes_of(folder: Path) -> dict[str, int]:
    """Megabytes of the index's parts."""
    parts = {"catalogue_mb": "catalogue-*", "vectors_mb": "vectors-*/*", "disk_mb": "**/*"}
    return {name: sum(p.stat().st_size for p in folder.glob(pattern) if p.is_file()) // 1_000_000 for name, pattern in parts.items()}


def one_size(photos: int, options: argparse.Namespace) -> dict[str, Any]:
    """Everything at one size."""
    gallery = Path(options.gallery)
    make_photos(gallery, 0, photos)
    result: dict[str, Any] = {"photos": photos}

    def report(name: str, found: dict[str, Any]) -> None:
        result.update({f"{name}_{key}": value for key, value in found.items()})
        print(json.dumps(result), file=sys.stderr, flush=True)

    killed = run("_build", options, kill_at=photos // 2)
    with ReferenceIndex.open(options.made, Drawn(options.index)) as index:
        report("killed", {"after": killed["done"], "kept": len(index)})
    report("resumed", run("_build", options))
    result |= sizes_of(Path(options.made)) | run("_search", options)
    for turn in range(options.rounds):
        make_photos(gallery, photos + turn * options.update, options.update)
        report("update" if turn == 0 else f"update_{turn + 1}", run("_build", options))
    report("unchanged", run("_build", options))
    after = run("_search", options)
    report("later", {key: after[key] for key in ("open_cpu_s", "cpu_p50_ms", "cpu_p95_ms", "search_mb")} | sizes_of(Path(options.made)))
    report("verify", run("_verify", options))
    # The killed part was made at the same rate.
    result["build_cpu_s"] = round(result["resumed_cpu_s"] * photos / max(1, photos - result["killed_kept"]), 1)
    result["build_mb"] = result["resumed_mb"]
    return result


def fits(results: list[dict[str, Any]]) -> dict[str, float]:
    """The power of the number of vectors with which each figure grows."""
    vectors = np.log([result["resumed_vectors"] for result in results])
    rows = {name: [max(float(result[name]), 1e-3) for result in results] for name in FITTED}
    return {name: round(float(np.polyfit(vectors, np.log(values), 1)[0]), 2) for name, values in rows.items()}


def main() -> None:
    """All sizes, or one step of one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", nargs="?", choices=STEPS)
    parser.add_argument("--index", required=True, help="an index, for the pattern of its vectors")
    parser.add_argument("--sizes", type=int, nargs="+", default=[667, 6_667, 66_667], help="photos in the gallery")
    parser.add_argument("--update", type=int, default=1000, help="photos added at a time")
    parser.add_argument("--rounds", type=int, default=3, help="how often")
    parser.add_argument("--scratch", default=None, help="where temporary files go")
    parser.add_argument("--gallery", help=argparse.SUPPRESS)
    parser.add_argument("--made", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.step:
        with torch.inference_mode():
            print(json.dumps(STEPS[options.step](options)), flush=True)
        return
    results = []
    for photos in options.sizes:
        scratch = tempfile.mkdtemp(dir=options.scratch)
        options.gallery, options.made = f"{scratch}/photos", f"{scratch}/index"
        results.append(one_size(photos, options))
        shutil.rmtree(scratch)
    print(json.dumps({"vectors_a_photo": len(BOXES), "sizes": results, "grows with power": fits(results)}, indent=2))


if __name__ == "__main__":
    main()
