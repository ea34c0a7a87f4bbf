"""Finished triplets as a training source: a triplet folder, or iHarmony4's own layout, with the paper's reference lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import RaihaError
from ..evaluation import Dataset, Item
from .layout import PLACED
from .sources import POSITIVE, RETRIEVED, RawBatch, ReferenceMix, crop_boxes, mask_boxes
from .squares import mask_square, picture_square

_WHOLE = np.array([0.0, 0.0, 1.0, 1.0], np.float32)


def with_list(dataset: Dataset, listing: Path) -> list[Item]:
    """All items of a data set, those that a reference list names with its references.

    Raises:
        RaihaError: the list cannot be read, names nothing of the data set, or names references that are not there.
    """
    listed = dataset.with_references(listing)
    if absent := [name for name in listed.missing if name not in dataset.missing]:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise RaihaError(f"{listing} names {absent[0]}{more}, which {dataset.root} does not have; add the files or take the lines out.")
    found = {item.composite: item.references for item in listed}
    return [replace(item, references=found.get(item.composite, ())) for item in dataset]


class TripletSource:
    """Reads triplets from disk as they are drawn; `size` is the side they are squashed to.

    An item's retrieved reference is one of its own, drawn at random; without any it gets a positive crop, as in the paper's
    implementation. With `whole` the pictures are not cropped, as there.
    """

    def __init__(self, rows: Sequence[Item], size: int = 256, whole: bool = False, mix: ReferenceMix | None = None):
        self.rows, self.size, self.whole, self.mix = rows, size, whole, mix or ReferenceMix()

    def _read(self, path: Path, mode: str) -> NDArray[np.uint8]:
        return mask_square(path, self.size)[None] if mode == "L" else picture_square(path, self.size).transpose(2, 0, 1)

    def draw(self, batch: int, rng: np.random.Generator) -> RawBatch:
        """Draw one raw batch; nothing is augmented but the crop."""
        rows = [self.rows[int(i)] for i in rng.integers(len(self.rows), size=batch)]
        files = ([r.composite for r in rows], [r.mask for r in rows], [r.real for r in rows])
        composite, mask, real = (
            torch.from_numpy(np.stack([self._read(path, mode) for path in paths]))
            for paths, mode in zip(files, ("RGB", "L", "RGB"), strict=True)
        )
        box = np.tile(_WHOLE, (batch, 1))
        if not self.whole:
            objects, area = mask_boxes(mask[:, 0].numpy())
            box = crop_boxes(np.where(area[:, None] > 0, objects, box), rng)
        count = self.mix.draw_count(rng)
        kinds = self.mix.draw_kinds(batch, count, rng)
        references = real[:, None].repeat(1, count, 1, 1, 1)
        for i, j in zip(*np.nonzero(kinds >= RETRIEVED), strict=True):
            if kinds[i, j] == RETRIEVED and not rows[i].references:
                kinds[i, j] = POSITIVE
            elif kinds[i, j] == RETRIEVED:
                chosen = rows[i].references[int(rng.integers(len(rows[i].references)))]
                references[i, j] = torch.from_numpy(self._read(chosen, "RGB").copy())
            else:
                references[i, j] = real[i - 1]
        return RawBatch(
            real=real,
            mask=mask,
            box=torch.from_numpy(box),
            layout=torch.full((batch,), PLACED),
            scene=real[:0],
            donor=real,
            donor_mask=mask,
            partner=real[:0],
            has_partner=torch.zeros(batch, dtype=torch.bool),
            reference_kind=torch.from_numpy(kinds),
            references=references,
            composite=composite,
        )
