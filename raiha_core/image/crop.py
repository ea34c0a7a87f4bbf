"""What a model is shown: the foreground with enough around it, at a small square size."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

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
    brightest: Mask = mask.max(1)
    inner = _box_of(mask, brightest, min(0.5, float(brightest.max()) / 2))
    return box_around((height, width), inner, float(mask.sum()), share, margin, whole)


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
"""Bytes whose sum a float32 holds exactly."""


def block_means(rows: NDArray[np.uint8], ky: int, kx: int) -> Tensor:
    """Means of blocks of an 8-bit picture, `(1, C, ceil(h / ky), ceil(w / kx))` float32: those of `avg_pool2d` with `ceil_mode`, to the
    bit, in half the time, since sums are of integers.

    Args:
        rows: `(h, w, C)`.
        ky, kx: rows and columns of a block, at most 256 and `_EXACT` together.
    """
    tall = rows[::ky].astype(np.uint16)
    for k in range(1, ky):
        part = rows[k::ky]
        tall[: len(part)] += part
    sums = tall[:, ::kx].astype(np.float32)
    for k in range(1, kx):
        wide = tall[:, k::kx]
        sums[:, : wide.shape[1]] += wide
    counts = [np.minimum(k, side - np.arange(0, side, k)) for k, side in ((ky, rows.shape[0]), (kx, rows.shape[1]))]
    planes = np.ascontiguousarray(sums.transpose(2, 0, 1)) / np.outer(*counts).astype(np.float32)
    return torch.from_numpy(planes)[None]


def shrink(array: NDArray[Any], box: Box, size: int, white: float | None = None) -> Tensor:
    """A box of an array, squashed to a square by area averaging, `(1, C, size, size)` float32 with white at 1.

    Large boxes are first averaged over whole blocks, strip by strip, so that memory stays small.

    Args:
        array: `(H, W)` or `(H, W, C)` of any picture dtype.
        white: its value of white; None is what the dtype says.
    """
    region = array[box.top : box.bottom, box.left : box.right]
    if region.ndim == 2:
        region = region[:, :, None]
    ky, kx = max(1, box.height // (2 * size)), max(1, box.width // (2 * size))
    strip = max(1, 2**21 // max(1, ky * box.width * region.shape[2])) * ky
    parts = []
    for row in range(0, box.height, strip):
        rows = region[row : row + strip]
        if rows.dtype == np.uint8 and 1 < ky * kx <= _EXACT and ky <= 256:
            parts.append(block_means(rows, ky, kx))
            continue
        part = torch.from_numpy(np.ascontiguousarray(rows.transpose(2, 0, 1), np.float32))[None]
        # A last block that is not whole counts as one, less than half a pixel of the result: nothing at the border gets lost.
        parts.append(F.avg_pool2d(part, (ky, kx), ceil_mode=True) if ky * kx > 1 else part)
    small = torch.cat(parts, 2) / (white or full_scale(array))
    return F.interpolate(small, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
