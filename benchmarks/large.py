"""Peak memory and time of `raiha harmonize` for very large pictures, beside the size of what is read and written.

python benchmarks/large.py [--folder /tmp/raiha-large] [--cases ...] [--markdown docs/benchmarks.md]

The pictures are made first, from tiles of a photo, in a folder that takes up to 8 GB; each is removed once it is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tables import section

TILE = 512


class Case(NamedTuple):
    """A picture: its side in pixels, type and kind of file."""

    side: int
    dtype: Any
    suffix: str


CASES = {
    "200 MP, 16-bit TIFF": Case(14144, np.uint16, ".tif"),
    "200 MP, 8-bit PNG": Case(14144, np.uint8, ".png"),
    "200 MP, 8-bit JPEG": Case(14144, np.uint8, ".jpg"),
    "1 GP, 8-bit BigTIFF of tiles": Case(32768, np.uint8, ".tif"),
}


def tile(dtype: Any) -> NDArray[Any]:
    """A photo of 512 x 512."""
    from skimage import data

    photo: NDArray[Any] = data.astronaut()
    return photo if dtype is np.uint8 else photo.astype(np.uint16) * 257


def flat(samples: NDArray[Any]) -> NDArray[Any]:
    """Fewer levels, which deflate faster: of the largest picture only memory is asked."""
    return samples // 32 * 32


def rows(case: Case) -> NDArray[Any]:
    """A band of 512 rows."""
    return np.tile(tile(case.dtype), (1, -(-case.side // TILE), 1))[:, : case.side]


def make(case: Case, file: Path, mask: Path) -> None:
    """Write a picture and its mask: an object over a quarter of it."""
    import imagecodecs
    import tifffile

    side, band = case.side, rows(case)
    inside = slice(side // 4, 3 * side // 4)
    many = -(-side // TILE)

    def tiles(of: NDArray[Any]) -> Iterator[NDArray[Any]]:
        for _ in range(many * many):
            yield of

    def masks() -> Iterator[NDArray[np.uint8]]:
        for i in range(many * many):
            y, x = divmod(i, many)
            yield np.full((TILE, TILE), 255 * (many // 4 <= y < 3 * many // 4 and many // 4 <= x < 3 * many // 4), np.uint8)

    if case.suffix == ".tif":
        options: Any = {"tile": (TILE, TILE), "compression": "zlib", "metadata": None, "bigtiff": side > 20000}
        tifffile.imwrite(
            file,
            tiles(flat(tile(case.dtype)) if side > 20000 else tile(case.dtype)),
            shape=(side, side, 3),
            dtype=case.dtype,
            photometric="rgb",
            **options,
        )
    else:
        whole = np.tile(band, (many, 1, 1))[:side]
        encoded = imagecodecs.png_encode(whole, level=1) if case.suffix == ".png" else imagecodecs.jpeg8_encode(whole, level=90)
        file.write_bytes(encoded)
    if mask.suffix == ".tif":
        tifffile.imwrite(
            mask,
            masks(),
            shape=(side, side),
            dtype=np.uint8,
            photometric="minisblack",
            tile=(TILE, TILE),
            compression="zlib",
            metadata=None,
        )
    else:
        plane = np.zeros((side, side), np.uint8)
        plane[inside, inside] = 255
        mask.write_bytes(imagecodecs.png_encode(plane, level=1))


def measure(name: str, folder: Path) -> dict[str, float]:
    """Seconds of wall and processor, and gigabytes: peak of the process, and of the samples read and written."""
    case = CASES[name]
    file, out = folder / f"in{case.suffix}", folder / f"out{case.suffix}"
    mask = folder / ("mask.tif" if case.side > 20000 else "mask.png")
    # Made in a process of its own, so that its memory is not counted.
    subprocess.run([sys.executable, __file__, "--make", name, str(file), str(mask)], check=True)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    watch = "import resource, sys; from raiha_core.cli import main; s = main(sys.argv[1:]); "
    watch += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(s)"
    command = [sys.executable, "-c", watch, "harmonize", str(file), str(mask), "-o", str(out), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip()}")
    row, peak = done.stdout.strip().splitlines()
    assert json.loads(row)["changed"]
    for made in (file, mask, out):
        made.unlink()
    unit = 1 if sys.platform == "darwin" else 1024
    samples = case.side**2 * 3 * np.dtype(case.dtype).itemsize
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "processor": processor, "peak": int(peak) * unit / 1e9, "samples": 2 * samples / 1e9}


def table(results: dict[str, dict[str, float]]) -> str:
    """Markdown."""
    lines = ["| picture | input and output, GB | peak, GB | processor, s |", "| --- | --- | --- | --- |"]
    return "\n".join(lines + [f"| {name} | {r['samples']:.2f} | {r['peak']:.2f} | {r['processor']:.0f} |" for name, r in results.items()])


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/raiha-large"))
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--markdown", type=Path, help="also write the table into this file, between its marks")
    parser.add_argument("--make", nargs=3, metavar=("CASE", "FILE", "MASK"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        make(CASES[arguments.make[0]], Path(arguments.make[1]), Path(arguments.make[2]))
        return
    os.makedirs(arguments.folder, exist_ok=True)
    results = {}
    for name in arguments.cases:
        results[name] = measure(name, arguments.folder)
        print(name, results[name], flush=True)
    text = table(results)
    print(text)
    if arguments.markdown:
        section(arguments.markdown, "large", text)


if __name__ == "__main__":
    main()
