"""What a model is shown: the foreground with enough around it, at a small square size."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..parallel import by_rows, each
from .masks import Mask
from .picture import full_scale


class Box(NamedTuple):
    """Pixel rectangle: rows `top` to `bottom`, columns `left` to `right`, ends excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left


def bounding_box(mask: Mask, threshold: float = 0.0) -> Box:
    """The smallest box that holds everything above `threshold`; the mask must not be empty there."""
    return _box_of(mask, mask.max(1), threshold)


def _box_of(mask: Mask, brightest: Mask, threshold: float) -> Box:
    """As `bounding_box`, with the brightest value of every row; a large mask is looked at no more often than it must."""
    rows = np.flatnonzero(brightest > threshold)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[top:bottom].max(0) > threshold)
    return Box(top, int(columns[0]), bottom, int(columns[-1]) + 1)


def crop_box(mask: Mask, share: float = 0.1, margin: float = 1.5, whole: float = 0.7) -> Box:
    """Where to look: around the foreground, with context.

    The box is about square, at least `margin` times the foreground's bounding box, and so large that the foreground covers
    about `share` of it; it stays inside the picture. Where it would cover more than `whole` of the picture, it is the
    whole picture.
    """
    height, width = mask.shape
    rows = by_rows(lambda m: np.stack([m.max(1), m.sum(1)], 1), mask)
    brightest: Mask = rows[:, 0]
    inner = _box_of(mask, brightest, min(0.5, float(brightest.max()) / 2))
    return box_around((height, width), inner, float(rows[:, 1].sum(dtype=np.float64)), share, margin, whole)


def box_around(size: tuple[int, int], inner: Box, covered: float, share: float = 0.1, margin: float = 1.5, whole: float = 0.7) -> Box:
    """As `crop_box`, by what is known of the mask.

    Args:
        size: (height, width) of the picture.
        inner: the foreground's bounding box.
        covered: sum of the mask.
    """
    height, width = size
    # As large as the bounding box asks, or as the foreground's share asks; never below 32 px, where nothing is to be seen.
    side = max(margin * max(inner.height, inner.width), (covered / share) ** 0.5, 32.0)
    h, w = min(height, round(side)), min(width, round(side))
    if h * w > whole * height * width:
        return Box(0, 0, height, width)
    top = min(max(0, (inner.top + inner.bottom - h) // 2), height - h)
    left = min(max(0, (inner.left + inner.right - w) // 2), width - w)
    return Box(top, left, top + h, left + w)


_EXACT = 2**16
"""Samples of 16 bits whose sum is less than 2^32."""
_STRIP = 2**21
"""Pixels of the rows that are averaged at a time: enough that threads do not wait for each other in between."""


def block_means(rows: NDArray[Any], ky: int, kx: int) -> NDArray[np.float32]:
    """Means of blocks of a picture, `(C, ceil(h / ky), ceil(w / kx))`: those of `avg_pool2d` with `ceil_mode`, of 8 bits to the bit.

    Args:
        rows: `(h, w, C)` of any picture dtype.
        ky, kx: rows and columns of a block; the last ones may be smaller.
    """
    h, w, channels = rows.shape
    # Sums of whole numbers are exact, and in narrow types quick.
    whole = rows.dtype.kind == "u" and ky * kx <= _EXACT
    narrow = rows.dtype == np.uint8 and ky <= 256
    tall: NDArray[Any] = rows[::ky].astype(np.uint16 if narrow else np.uint32 if whole else np.float32)
    for k in range(1, ky):
        part = rows[k::ky]
        tall[: len(part)] += part
    counts = [np.minimum(k, side - np.arange(0, side, k)) for k, side in ((ky, h), (kx, w))]
    means = np.empty((channels, len(tall), len(counts[1])), np.float32)
    # Channel by channel: along three samples of a pixel numpy goes one pixel at a time.
    for channel in range(channels):
        sums: NDArray[Any] = tall[:, ::kx, channel].astype(np.uint32 if whole else np.float32)
        for k in range(1, kx):
            wide = tall[:, k::kx, channel]
            sums[:, : wide.shape[1]] += wide
        np.divide(sums.astype(np.float32), np.outer(*counts).astype(np.float32), out=means[channel])
    return means


def shrink(array: NDArray[Any], box: Box, size: int, white: float | None = None) -> Tensor:
    """A box of an array, squashed to a square by area averaging, `(1, C, size, size)` float32 with white at 1.

    Large boxes are first averaged over whole blocks, strip by strip on all cores.

    Args:
        array: `(H, W)` or `(H, W, C)` of any picture dtype.
        white: its value of white; None is what the dtype says.
    """
    region = array[box.top : box.bottom, box.left : box.right]
    if region.ndim == 2:
        region = region[:, :, None]
    ky, kx = max(1, box.height // (2 * size)), max(1, box.width // (2 * size))
    # A last block that is not whole counts as one, less than half a pixel of the result: nothing at the border gets lost.
    means = np.empty((region.shape[2], -(-box.height // ky), -(-box.width // kx)), np.float32)
    step = max(1, _STRIP // (ky * box.width))

    def strip(top: int) -> None:
        means[:, top : top + step] = block_means(region[top * ky : (top + step) * ky], ky, kx)

    each(strip, range(0, means.shape[1], step))
    small = torch.from_numpy(means)[None] / (white or full_scale(array))
    return F.interpolate(small, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
