"""Very large pictures, harmonised by bands of rows: memory does not grow with what is read from and written to TIFFs by windows.

What comes out is what `Harmonizer.harmonize` gives, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .apply import PlacedTransform
from .harmonizer import Harmonizer, Shown
from .image import Box, Mask, Picture
from .image.crop import box_around
from .image.masks import check_extremes, other_size
from .image.view import seen_mask, softness, steepened, view
from .image.windows import MaskRows, Rows, Window, bands
from .unchanged import visibly_changed, why_unchanged

_SIDE = 2048
"""Longest side at which a large picture is looked at for references."""


@dataclass
class LargeComposite:
    """A composite and its mask, read by rows.

    Args:
        rows: opaque samples.
        mask: of the same size.
        template: a picture of any size with what is known of the samples beside them: profile, white.

    Raises:
        RaihaError: another size, an empty mask, or one that leaves no background.
    """

    rows: Rows
    mask: MaskRows
    template: Picture
    changed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.mask.size != self.size:
            raise other_size(self.mask.size, self.size)
        check_extremes(self._measured.least, self._measured.most)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.rows.shape[0], self.rows.shape[1]

    @cached_property
    def _measured(self) -> _Measured:
        return _measured(self.mask)

    @cached_property
    def _whole(self) -> Picture:
        """The picture, its samples read when they are asked for."""
        pixels: Any = Window(self._colours, (*self.size, 3), self.rows.dtype)
        return self.template.with_rgb(pixels)

    def _colours(self, top: int, bottom: int, left: int, right: int) -> NDArray[Any]:
        samples = self.rows.read(top, bottom, left, right)
        return samples if samples.shape[2] == 3 else np.repeat(samples, 3, 2)

    def shown(self, harmonizer: Harmonizer) -> Shown:
        """As `Harmonizer.shown`."""
        box = box_around(self.size, self._measured.inner, self._measured.total) if harmonizer.model.crops else Box(0, 0, *self.size)
        size, device = harmonizer.model.input_size, harmonizer.device
        return Shown(view(self._whole, box, size).to(device), self._seen_mask(box, size).to(device), box)

    def _seen_mask(self, box: Box, size: int) -> Tensor:
        """As `view_mask`."""
        total = squares = most = 0.0
        for top, bottom in bands(box.height, box.width):
            part = self.mask.read(box.top + top, box.top + bottom, box.left, box.right)
            total += float(part.sum(dtype=np.float64))
            squares += float(np.vdot(part, part))
            most = max(most, float(part.max()))
        soft = softness(total, squares)

        def read(top: int, bottom: int, left: int, right: int) -> Mask:
            part = self.mask.read(top, bottom, left, right)
            return part if soft is None else steepened(part, soft)

        if soft is not None and not steepened(np.full(1, most, np.float32), soft).any():
            soft = None
        return seen_mask(Window(read, (box.height, box.width), np.float32, (box.top, box.left)), size)

    def reduced(self) -> tuple[Tensor, Tensor]:
        """The picture `(1, 3, h, w)` in sRGB and its mask `(1, 1, h, w)`, averaged over blocks: what references are looked for with."""
        height, width = self.size
        k = max(1, -(-max(height, width) // _SIDE))
        pictures, masks = [], []
        for top, bottom in bands(height, width, k):
            rgb = self._colours(top, bottom, 0, width).transpose(2, 0, 1)
            planes = torch.from_numpy(np.ascontiguousarray(rgb, np.float32))[None] / self.template_scale
            pictures.append(F.avg_pool2d(planes, k, ceil_mode=True))
            masks.append(F.avg_pool2d(torch.from_numpy(self.mask.read(top, bottom))[None, None], k, ceil_mode=True))
        picture = torch.cat(pictures, 2)
        space = self.template.space
        return picture if space is None else space.to_srgb(picture), torch.cat(masks, 2)

    @property
    def template_scale(self) -> float:
        """The sample value of white."""
        return self._whole.scale

    def harmonized(
        self, harmonizer: Harmonizer, placed: PlacedTransform, strength: float = 1.0, whole: int = 1, in_place: bool = False
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Bands of the result, each with its first row; `changed` says afterwards whether anything can be seen.

        Args:
            placed: what to apply.
            strength: see `harmonize`.
            whole: bands are multiples of as many rows.
            in_place: put the result where the samples are, which are RGB in memory.
        """
        height, width = self.size
        for top, bottom in bands(height, width, whole):
            samples, mask = self._colours(top, bottom, 0, width), self.mask.read(top, bottom)
            if strength > 0 and mask.any():
                before = self.template.with_rgb(samples if self.changed else samples.copy() if in_place else samples)
                box = placed.box
                here = PlacedTransform(placed.transform, Box(box.top - top, box.left, box.bottom - top, box.right))
                after = harmonizer.apply(before, mask, here, strength, into=samples if in_place else None)
                self.changed = self.changed or visibly_changed(before, after, mask)
                samples = after.rgb
            yield top, samples

    def why_unchanged(self, shown: Shown, placed: PlacedTransform, strength: float) -> str:
        """As `unchanged.why_unchanged`, by what the model saw."""
        rgb = np.ascontiguousarray(shown.picture[0].permute(1, 2, 0).cpu().numpy())
        mask = shown.mask[0, 0].cpu().numpy()
        size = mask.shape[0]
        return why_unchanged(Picture(rgb), mask, Box(0, 0, size, size), size, placed.transform, strength)


def predict(
    harmonizer: Harmonizer, composite: LargeComposite, references: Sequence[Tensor] = (), caution: float | None = None
) -> tuple[Shown, PlacedTransform]:
    """What the model sees of a large composite, and the transform that it asks for; as `Harmonizer.predict`.

    Raises:
        RaihaError: as `Harmonizer.predict`.
    """
    shown = composite.shown(harmonizer)
    with torch.inference_mode():
        found = harmonizer.predict_shown([shown], references, caution=caution)
    return shown, found[0]


@dataclass(frozen=True)
class _Measured:
    """Least and highest value of a mask, its sum, and the box around what is above one half."""

    least: float
    most: float
    total: float
    inner: Box


def _measured(mask: MaskRows) -> _Measured:
    least, most, total = 1.0, 0.0, 0.0
    height, width = mask.size
    rows, columns = np.zeros(height, np.float32), np.zeros(width, np.float32)
    for top, part in mask.bands():
        least, most = min(least, float(part.min())), max(most, float(part.max()))
        total += float(part.sum(dtype=np.float64))
        rows[top : top + len(part)] = part.max(1)
        np.maximum(columns, part.max(0), out=columns)
    # As `bounding_box`.
    y, x = (np.flatnonzero(line > min(0.5, most / 2)) for line in (rows, columns))
    inner = Box(int(y[0]), int(x[0]), int(y[-1]) + 1, int(x[-1]) + 1) if y.size else Box(0, 0, height, width)
    return _Measured(least, most, total, inner)
