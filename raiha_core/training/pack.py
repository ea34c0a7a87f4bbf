"""Photos, masks and aligned pairs, packed once into arrays that training reads at memory speed.

A pack is a folder of `photos.npy`, `masks.npy`, `pairs.npy` (memory-mapped uint8) and `pack.json`. Everything is
squashed to one square size: training crops with random aspect ratios anyway, so the distortion is one more crop.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from ..atomic import replacing
from ..errors import RaihaError
from ..suffixes import READABLE
from .squares import mask_square, picture_square

FORMAT = 2


@dataclass(frozen=True)
class Pack:
    """A packed data set.

    Attributes:
        photos: `(N, S, S, 3)` uint8.
        masks: `(M, S, S)` uint8, 255 = object.
        mask_photo: `(M,)` int64, which photo a mask belongs to.
        mask_label: `(M,)` int64, class of the object; equal numbers mean equal labels, -1 unknown.
        mask_region: `(M,)` bool, whether the mask is a region such as sky or ground rather than an object.
        pairs: `(2P, S, S, 3)` uint8; rows 2i and 2i + 1 show one scene under two lights or edits.
        names: photo paths, relative to their folder.
        digest: of what was packed.
    """

    photos: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    mask_photo: NDArray[np.int64]
    mask_label: NDArray[np.int64]
    mask_region: NDArray[np.bool_]
    pairs: NDArray[np.uint8]
    names: list[str]
    digest: str = ""


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()] if path.is_file() else []


def find_photos(root: Path) -> list[Path]:
    """All photos below a folder in a stable order; folders `masks`, `pairs`, `val` and hidden ones are left out.

    Raises:
        RaihaError: the folder is missing or holds no photo.
    """
    if not root.is_dir():
        raise RaihaError(f"The photo folder {root} does not exist; give an existing folder.")
    skip = {"masks", "pairs", "val", "composites", "teacher"}
    found = sorted(
        p
        for p in root.rglob("*")
        if p.suffix.lower() in READABLE
        and not (set(p.relative_to(root).parts[:-1]) & skip)
        and not any(q.startswith(".") for q in p.relative_to(root).parts)
    )
    if not found:
        raise RaihaError(f"No photo was found below {root}; training needs JPEG, PNG, WebP, TIFF or other picture files.")
    return found


REGION_LABELS = frozenset(
    ["sky", "ground", "road", "grass", "water", "sea", "sand", "field", "floor", "wall", "mountain", "river", "region"]
)


def build_pack(root: Path, out: Path, size: int = 256, progress: bool = True, regions: int = 0, also: Sequence[Path] = ()) -> Pack:
    """Pack folders of photos, with `masks.jsonl` and `pairs.jsonl` beside them where there are any.

    Args:
        root: the folder; `masks.jsonl` has one object per line with `photo`, `mask`, `label`; `pairs.jsonl` has `a`, `b`.
        out: where the pack goes; an existing pack of the same content is opened instead.
        size: side S of the packed squares.
        regions: how many masks to add per photo, of segments found by colour (`find_segments`).
        also: further folders of the same layout, packed together with the first.

    Raises:
        RaihaError: a folder is missing or empty.
    """
    names, mask_rows, pair_rows = _listing(root, "")
    names = [n for n in names if not any((root / n).is_relative_to(folder) for folder in also)]
    for folder in also:
        # Names stay relative to the first folder, so that one list serves all.
        more = _listing(folder, os.path.relpath(folder, root) + "/")
        names, mask_rows, pair_rows = names + more[0], mask_rows + more[1], pair_rows + more[2]
    content = [FORMAT, size, names, mask_rows, pair_rows, *([regions] if regions else [])]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    if (out / "pack.json").is_file() and json.loads((out / "pack.json").read_text())["digest"] == digest:
        return open_pack(out)
    out.mkdir(parents=True, exist_ok=True)
    where = {n: i for i, n in enumerate(names)}
    mask_rows = [r for r in mask_rows if r["photo"] in where]
    labels = {label: i for i, label in enumerate(sorted({str(r.get("label")) for r in mask_rows}))}
    bar: Callable[[Iterable[Any], str], Iterable[Any]] = lambda it, d: tqdm(it, desc=d, disable=not progress)  # noqa: E731
    _fill(out / "photos.npy", [root / n for n in names], size, "RGB", lambda it: bar(it, "photos"))
    packed = np.load(out / "photos.npy", mmap_mode="r")
    segments, owners = _segments_of(packed, regions, lambda it: bar(it, "segments")) if regions else ([], [])
    _fill(out / "masks.npy", [root / r["mask"] for r in mask_rows], size, "L", lambda it: bar(it, "masks"), segments)
    _fill(out / "pairs.npy", [root / r[k] for r in pair_rows for k in ("a", "b")], size, "RGB", lambda it: bar(it, "pairs"))
    meta = {
        "digest": digest,
        "names": names,
        "mask_photo": [where[r["photo"]] for r in mask_rows] + owners,
        "mask_label": [labels[str(r.get("label"))] if r.get("label") else -1 for r in mask_rows] + [-1] * len(owners),
        "mask_region": [str(r.get("label")).lower() in REGION_LABELS or "regions" in r["mask"] for r in mask_rows] + [True] * len(owners),
    }
    with replacing(out / "pack.json") as part:
        part.write_text(json.dumps(meta))
    return open_pack(out)


def _listing(folder: Path, prefix: str) -> tuple[list[str], list[dict[str, Any]], list[dict[str, Any]]]:
    """Photos, masks and pairs of a folder, their paths behind `prefix`."""
    names = [prefix + p.relative_to(folder).as_posix() for p in find_photos(folder)]
    masks = [{**r, "photo": prefix + r["photo"], "mask": prefix + r["mask"]} for r in _lines(folder / "masks.jsonl")]
    pairs = [{**r, "a": prefix + r["a"], "b": prefix + r["b"]} for r in _lines(folder / "pairs.jsonl")]
    return names, masks, pairs


def _fill(
    target: Path,
    files: list[Path],
    size: int,
    mode: str,
    bar: Callable[[Iterable[Path]], Iterable[Path]],
    more: Sequence[NDArray[np.uint8]] = (),
) -> None:
    """Write pictures read from files, and after them `more` that are at hand."""
    shape = (len(files) + len(more), size, size) + ((3,) if mode == "RGB" else ())
    if not shape[0]:
        np.save(target, np.zeros(shape, np.uint8))
        return
    array = np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape)
    for i, path in enumerate(bar(files)):
        array[i] = mask_square(path, size) if mode == "L" else picture_square(path, size, Image.Resampling.LANCZOS)
    for i, picture in enumerate(more, len(files)):
        array[i] = picture
    array.flush()


def _segments_of(
    photos: NDArray[np.uint8], count: int, bar: Callable[[Iterable[int]], Iterable[int]]
) -> tuple[list[NDArray[np.uint8]], list[int]]:
    """Segments of every packed photo, and the photo of each."""
    from .segments import find_segments

    found, owners = [], []
    for i in bar(range(len(photos))):
        segments = find_segments(photos[i], count, np.random.default_rng(i))
        found += segments
        owners += [i] * len(segments)
    return found, owners


def open_pack(folder: Path) -> Pack:
    """Open a pack; the arrays are memory-mapped read-only."""
    meta = json.loads((folder / "pack.json").read_text())

    def load(name: str) -> NDArray[np.uint8]:
        array: NDArray[np.uint8] = np.load(folder / f"{name}.npy", mmap_mode="r")
        return array

    return Pack(
        photos=load("photos"),
        masks=load("masks"),
        mask_photo=np.asarray(meta["mask_photo"], np.int64),
        mask_label=np.asarray(meta["mask_label"], np.int64),
        mask_region=np.asarray(meta["mask_region"], bool),
        pairs=load("pairs"),
        names=meta["names"],
        digest=meta["digest"],
    )
