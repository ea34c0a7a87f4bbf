"""The command as a user times it, as ratios: to `import torch`, to Pillow alone, and applying a transform to copies of the picture.

python benchmarks/command.py [--megapixels 1 12 24] [--pictures 20] [--repeats 3]

Ratios are of processor seconds, which other programs disturb least, and behind them of the clock's, which are what a user waits where
all cores are idle. The least of the repeats counts.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from harmonize import Image8, scene
from PIL import Image


class Spent(NamedTuple):
    """Seconds."""

    wall: float
    processor: float


def least(work: Callable[[], object], repeats: int, children: bool = False) -> Spent:
    """The least of some repeats; `children`: the work is done by processes that it starts."""
    who, found = resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF, []
    for _ in range(repeats):
        before, started = resource.getrusage(who), time.perf_counter()
        work()
        after = resource.getrusage(who)
        used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        found.append(Spent(time.perf_counter() - started, used))
    return Spent(min(s.wall for s in found), min(s.processor for s in found))


def grained(megapixels: float) -> tuple[Image8, Image8]:
    """`scene` with the grain of a camera, without which every encoder looks fast; the mask in 8 bits."""
    photo, mask = scene(megapixels)
    grain = np.random.default_rng(0).normal(0, 3, photo.shape[:2]).astype(np.float32)[..., None]
    return (photo + grain).clip(0, 255).astype(np.uint8), (mask * 255).astype(np.uint8)


def python(*arguments: str) -> Callable[[], object]:
    """A process of its own, with modules compiled beforehand, as they are where a package was installed."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    work = partial(subprocess.run, [sys.executable, *arguments], check=True, capture_output=True, env=environment)
    return work


def row(name: str, spent: Spent, unit: Spent | None = None, what: str = "") -> None:
    """Print a line of the table."""
    ratio = f"{spent.processor / unit.processor:.2f} x {what} ({spent.wall / unit.wall:.2f})" if unit else ""
    print(f"| {name} | {spent.wall:.3f} | {spent.processor:.3f} | {ratio} |", flush=True)


def commands(folder: Path, sizes: list[float], repeats: int, torch_alone: Spent) -> None:
    """One picture, from a JPEG to a PNG and to a JPEG, beside Pillow that reads it and writes it with its fastest compression."""
    for size in sizes:
        photo, mask = grained(size)
        source, over = folder / f"{size:g}.jpg", folder / f"{size:g}_mask.png"
        Image.fromarray(photo).save(source, quality=92)
        Image.fromarray(mask).save(over)
        for suffix, options in ((".png", {"compress_level": 1}), (".jpg", {"quality": 95, "subsampling": 0})):
            target = folder / f"out{suffix}"
            whole = least(python("-m", "raiha_core", "harmonize", str(source), str(over), "-o", str(target)), repeats, children=True)

            def alone(source: Path = source, target: Path = target, options: dict[str, Any] = options) -> None:
                with Image.open(source) as image:
                    image.save(target, **options)

            pillow = least(alone, repeats)
            rest = Spent(whole.wall - torch_alone.wall, whole.processor - torch_alone.processor)
            row(f"{size:g} MP to {suffix}, whole command", whole, torch_alone, "import torch")
            row(f"{size:g} MP to {suffix}, without import torch", rest, pillow, "Pillow alone")


def batch(folder: Path, pictures: int) -> None:
    """A folder of two-megapixel JPEGs: seconds for each picture, less those of the start."""
    photo, mask = grained(2)
    paths = [folder / name for name in ("composites", "masks")]
    for path in paths:
        path.mkdir()
    for i in range(pictures):
        Image.fromarray(np.roll(photo, 31 * i, 1)).save(paths[0] / f"{i:03}.jpg", quality=92)
        Image.fromarray(mask).save(paths[1] / f"{i:03}.png")
    few = folder / "few"
    few.mkdir()
    (few / "000.jpg").write_bytes((paths[0] / "000.jpg").read_bytes())
    start = least(python("-m", "raiha_core", "harmonize", str(few), str(paths[1]), "-o", str(folder / "a")), 1, children=True)
    whole = least(python("-m", "raiha_core", "harmonize", *map(str, paths), "-o", str(folder / "b")), 1, children=True)
    each = Spent(*((w - s) / (pictures - 1) for w, s in zip(whole, start, strict=True)))
    cores = os.cpu_count() or 1
    row("2 MP, one more of a folder", each)
    print(f"\n{1 / each.wall:.1f} pictures a second; {2 / each.processor:.1f} where two cores have nothing else to do ({cores} here).\n")


def transform(size: float, repeats: int) -> None:
    """Applying a map of affine transforms, in copies of the picture by numpy."""
    import torch

    from raiha_core.apply import PlacedTransform, apply_transform
    from raiha_core.image import Box, Picture
    from raiha_core.models import AffineMap

    photo, mask = grained(size)
    noise = torch.randn(12, 24, 24, generator=torch.Generator().manual_seed(0))
    placed = PlacedTransform(AffineMap(torch.eye(3, 4).reshape(12, 1, 1) + 0.05 * noise), Box(0, 0, *mask.shape))
    weight = (mask / 255).astype(np.float32)
    for name, rgb in (("8 bits", photo), ("float32", (photo / 255).astype(np.float32))):
        for how, one_pass in (("by torch", False), ("in one pass", True)):
            work = partial(apply_transform, Picture(rgb), weight, placed, one_pass=one_pass)
            work()  # compiles, if it has not been
            row(f"{size:g} MP, {name}, transform applied {how}", least(work, 3 * repeats), least(rgb.copy, 5 * repeats), "copies")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 12, 24])
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print("| what | wall s | processor s | ratio |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        python("-c", "import torch; from raiha_core.cli import harmonize")()  # compiles what has not been
        torch_alone = least(python("-c", "import torch"), given.repeats, children=True)
        row("import torch", torch_alone)
        commands(Path(folder), given.megapixels, given.repeats, torch_alone)
        transform(12, given.repeats)
        batch(Path(folder), given.pictures)


if __name__ == "__main__":
    main()
