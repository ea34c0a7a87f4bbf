"""Measure how fast an index is built: photos a second and core, and the shares of reading, encoder and light.

    python benchmarks/retrieval_build.py --photos FOLDER [--count 200] [--megapixels 12]

Everything runs on one thread; times are of the processor, so that other work on the machine does not count. Two ways take
turns in the same run: the way of the index (several photos at a time), and one photo at a time, as it was before. With
--megapixels, photos of FOLDER are enlarged, saved as JPEG and read from there. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from raiha_core.content import ContentEncoder, load_encoder
from raiha_core.illumination import describe
from raiha_core.references.builder import BATCH
from raiha_core.references.embed import Decoded, Task, decode
from raiha_core.references.lookalike import signature
from raiha_core.references.photos import SUFFIXES, as_tensor, file_hash, read_photo
from raiha_core.references.regions import REGIONS, limit_side

_T = TypeVar("_T")


class Clock:
    """Processor time by what it was spent on."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)

    def __call__(self, what: str, action: Callable[[], _T]) -> _T:
        """Run an action and count its time."""
        start = time.process_time()
        result = action()
        self.spent[what] += time.process_time() - start
        return result

    def report(self, count: int) -> dict[str, Any]:
        """Milliseconds a photo, and photos a second."""
        parts = {f"{what}_ms": round(1000 * seconds / count, 2) for what, seconds in self.spent.items()}
        return {**parts, "photos_per_second": round(count / sum(self.spent.values()), 1)}


def decoded(tasks: list[Task], encoder: ContentEncoder) -> list[Decoded]:
    """Photos read as the index reads them, none known yet."""
    return [decode(task, lambda digest: False, encoder.region_side) for task in tasks]


def hashed(file: Path) -> Tensor:
    """A photo read alone, and the hash of its file made."""
    file_hash(file)
    return as_tensor(read_photo(file, 576)[0])


def described(image: Tensor) -> None:
    """What an index knows of a photo beside its content."""
    describe(limit_side(image, 256))
    signature(image)


def together(files: list[Path], encoder: ContentEncoder, clock: Clock) -> None:
    """As the index is built."""
    for start in range(0, len(files), BATCH):
        tasks = [Task(1, file.name, str(file), 0, 0) for file in files[start : start + BATCH]]
        batch = clock("reading", partial(decoded, tasks, encoder))
        pictures = [d.picture for d in batch if d.picture is not None]
        squares = [d.small for d in batch if d.small is not None]
        clock("encoder", partial(encoder.encode_regions, pictures, (*REGIONS, *encoder.more_regions)))
        clock("light", partial(describe, torch.cat(squares)))


def one_by_one(files: list[Path], encoder: ContentEncoder, clock: Clock) -> None:
    """One photo at a time."""
    for file in files:
        image = clock("reading", partial(hashed, file))
        clock("encoder", partial(ContentEncoder.encode_regions, encoder, [image], REGIONS))
        clock("light", partial(described, image))


def enlarged(files: list[Path], megapixels: float, folder: Path) -> list[Path]:
    """The photos at so many megapixels, with grain, so that they compress like a camera's."""
    made = []
    for i, file in enumerate(files):
        image = read_photo(file, 4096)[0]
        scale = (megapixels * 1e6 / (image.width * image.height)) ** 0.5
        large = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
        noise = Image.effect_noise(large.size, 18).convert("RGB")
        made.append(folder / f"{i}.jpg")
        Image.blend(large, noise, 0.08).save(made[-1], quality=90)
    return made


def main() -> None:
    """Measure both ways by turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--megapixels", type=float, default=0)
    parser.add_argument("--encoder", default="embedded")
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted(p for p in options.photos.rglob("*") if p.suffix.lower() in SUFFIXES)
    random.Random(3).shuffle(files)
    encoder = load_encoder(options.encoder)
    result: dict[str, Any] = {"threads": 1, "photos": min(options.count, len(files))}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        files = files[: options.count]
        if options.megapixels:
            files = enlarged(files, options.megapixels, Path(folder))
            result["megapixels"] = options.megapixels
            result["megabytes_each"] = round(sum(f.stat().st_size for f in files) / len(files) / 1e6, 2)
        ways = {"several at a time": (together, Clock()), "one by one": (one_by_one, Clock())}
        for way, _ in ways.values():
            way(files[:BATCH], encoder, Clock())
        for _ in range(options.rounds):
            for way, clock in ways.values():
                way(files, encoder, clock)
    for name, (_, clock) in ways.items():
        result[name] = clock.report(len(files) * options.rounds)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
