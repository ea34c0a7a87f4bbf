"""Finished triplets as a training source: a triplet folder, or iHarmony4's own layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..errors import RaihaError
from .pack import IMAGE_SUFFIXES
from .sources import RawBatch, crop_boxes


class Row(NamedTuple):
    """Files of one triplet."""

    composite: Path
    mask: Path
    real: Path


def triplet_rows(root: Path) -> list[Row]:
    """Triplets of a folder with `composite/`, `mask/` and `real/`, matched by stem.

    Raises:
        RaihaError: the folder holds no complete triplet.
    """
    found = [{p.stem: p for p in sorted((root / part).glob("*")) if p.suffix.lower() in IMAGE_SUFFIXES} for part in Row._fields]
    rows = [Row(*(f[name] for f in found)) for name in sorted(set.intersection(*map(set, found)))]
    if not rows:
        raise RaihaError(f"{root} holds no triplets; it needs composite/, mask/ and real/ with files of the same names.")
    return rows


def iharmony4_rows(root: Path, split: str) -> list[Row]:
    """Triplets of iHarmony4: every subset's `SUBSET_split.txt` below `root`, names like a_1_2.jpg, masks a_1.png, real a.jpg.

    Raises:
        RaihaError: no list was found.
    """
    rows = []
    for subset in sorted(p for p in root.iterdir() if (p / "composite_images").is_dir()) if root.is_dir() else []:
        listing = subset / f"{subset.name}_{split}.txt"
        for name in listing.read_text().split() if listing.is_file() else []:
            stem = Path(name).stem
            rows.append(
                Row(
                    subset / "composite_images" / name,
                    subset / "masks" / f"{stem.rsplit('_', 1)[0]}.png",
                    subset / "real_images" / f"{stem.rsplit('_', 2)[0]}{Path(name).suffix}",
                )
            )
    if not rows:
        raise RaihaError(f"{root} holds no iHarmony4 {split} list; expected SUBSET/SUBSET_{split}.txt beside SUBSET/composite_images.")
    return rows


class TripletSource:
    """Reads triplets from disk as they are drawn; `size` is the side they are squashed to.

    `cache` is not used: triplets are read where they lie.
    """

    def __init__(self, rows: Sequence[Row], cache: Path, size: int = 256):
        del cache
        self.rows, self.size = rows, size

    def _read(self, path: Path, mode: str) -> NDArray[np.uint8]:
        try:
            with Image.open(path) as image:
                image.draft("RGB", (self.size * 2, self.size * 2))
                array = np.asarray(image.convert(mode).resize((self.size, self.size), Image.Resampling.BOX))
        except (OSError, ValueError) as error:
            raise RaihaError(f"{path} cannot be read as a picture ({error}); repair the triplet or take it out.") from None
        return array[None] if mode == "L" else array.transpose(2, 0, 1)

    def draw(self, batch: int, rng: np.random.Generator) -> RawBatch:
        """Draw one raw batch; nothing is augmented but the crop."""
        rows = [self.rows[i] for i in rng.integers(len(self.rows), size=batch)]
        composite, mask, real = (
            torch.from_numpy(np.stack([self._read(path, mode) for path in paths]))
            for paths, mode in zip(zip(*rows, strict=True), ("RGB", "L", "RGB"), strict=True)
        )
        box = np.zeros((batch, 4), np.float32)
        for i, m in enumerate(mask[:, 0].numpy()):
            x, y = np.flatnonzero((m > 127).any(0)), np.flatnonzero((m > 127).any(1))
            box[i] = (x[0], y[0], x[-1] + 1, y[-1] + 1) if len(x) else (0, 0, self.size, self.size)
        shift = int(rng.integers(1, max(2, batch)))
        return RawBatch(
            real=real,
            mask=mask,
            box=torch.from_numpy(crop_boxes(box / np.float32(self.size), rng)),
            donor=real,
            donor_mask=mask,
            partner=real,
            has_partner=torch.zeros(batch, dtype=torch.bool),
            retrieved=real.roll(shift, 0),
            other=real.roll(1, 0),
            composite=composite,
        )
