"""Finished triplets as a training source: a triplet folder, or iHarmony4's own layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..errors import RaihaError
from ..evaluation import Item
from .sources import RawBatch, crop_boxes


class TripletSource:
    """Reads triplets from disk as they are drawn; `size` is the side they are squashed to."""

    def __init__(self, rows: Sequence[Item], size: int = 256):
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
        rows = [self.rows[int(i)] for i in rng.integers(len(self.rows), size=batch)]
        files = ([r.composite for r in rows], [r.mask for r in rows], [r.real for r in rows])
        composite, mask, real = (
            torch.from_numpy(np.stack([self._read(path, mode) for path in paths]))
            for paths, mode in zip(files, ("RGB", "L", "RGB"), strict=True)
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
