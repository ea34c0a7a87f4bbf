"""Maps of affine transforms applied in one pass, compiled by numba; `fused` says when. Importing it takes most of a second.

Every operation, and its order, is that of `apply` and `models.base` in torch: the results are the same to the bit.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Where everything is logged in detail, numba writes tens of thousands of lines about what it compiles.
for _name in ("numba.core", "numba"):
    if logging.getLogger(_name).level == logging.NOTSET:
        logging.getLogger(_name).setLevel(logging.WARNING)

_BLOCK = 256
"""Columns at a time: what they need stays in the first cache."""


def _sweep(
    rgb: NDArray[Any],
    mask: NDArray[np.float32],
    out: NDArray[Any],
    across: NDArray[np.float32],
    cells: NDArray[np.int64],
    beyond: NDArray[np.float32],
    box: tuple[int, int, int, int],
    white: np.float32,
    strength: np.float32,
    whole: bool,
) -> None:
    """Transform a rectangle.

    Args:
        rgb: the picture's samples `(H, W, 3)`.
        mask: `(H, W)` in [0, 1].
        out: what to write to, as `rgb`.
        across: `(rows, 12, W)`, see `AffineMap.across`.
        cells, beyond: `(H,)`, the row of cells above every row, and how far beyond its centre that row lies.
        box: top, bottom, left, right.
        white: the value of white.
        strength: in [0, 1], on the mask.
        whole: round to whole numbers, and write also where the mask is 0.
    """
    top, bottom, left, right = box
    last, size = across.shape[0] - 1, _BLOCK
    zero, half, one = np.float32(0), np.float32(0.5), np.float32(1)
    # One array for all of a kind: with many, the compiler cannot tell that they do not overlap.
    map_, seen, made = np.empty(24 * size, np.float32), np.empty(4 * size, np.float32), np.empty(3 * size, np.float32)
    for start in range(left, right, size):
        n, known = min(start + size, right) - start, -1
        for y in range(top, bottom):
            cell, far = cells[y], beyond[y]
            if cell != known:
                known = cell
                for k in range(12):
                    here = across[cell, k, start : start + n]
                    below = across[min(cell + 1, last), k, start : start + n]
                    for i in range(n):
                        map_[k * size + i] = here[i]
                    for i in range(n):
                        map_[(12 + k) * size + i] = below[i] - here[i]
            line, weight, to = rgb[y, start : start + n], mask[y, start : start + n], out[y, start : start + n]
            for i in range(n):
                seen[i] = line[i, 0]
                seen[size + i] = line[i, 1]
                seen[2 * size + i] = line[i, 2]
            for i in range(n):
                seen[3 * size + i] = weight[i] * strength
            for c in range(3):
                for i in range(n):
                    r, g, b, w, old = seen[i], seen[size + i], seen[2 * size + i], seen[3 * size + i], seen[c * size + i]
                    above = map_[c * size + i] * r + map_[(9 + c) * size + i]
                    above = map_[(3 + c) * size + i] * g + above
                    above = map_[(6 + c) * size + i] * b + above
                    slope = map_[(12 + c) * size + i] * r + map_[(21 + c) * size + i]
                    slope = map_[(15 + c) * size + i] * g + slope
                    slope = map_[(18 + c) * size + i] * b + slope
                    new = slope * far + above
                    low = old if old < zero else zero
                    high = old if old > white else white
                    new = low if new < low else new
                    new = high if new > high else new
                    # torch.lerp goes from the nearer end.
                    share = w if w < half else w - one
                    base = old if w < half else new
                    made[c * size + i] = share * (new - old) + base
            if whole:
                for i in range(n):
                    to[i, 0] = np.rint(made[i])
                    to[i, 1] = np.rint(made[size + i])
                    to[i, 2] = np.rint(made[2 * size + i])
            else:
                for i in range(n):
                    if weight[i] > zero:
                        to[i, 0] = made[i]
                        to[i, 1] = made[size + i]
                        to[i, 2] = made[2 * size + i]


_HOW: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}
try:
    sweep = njit(cache=True, **_HOW)(_sweep)
except RuntimeError:  # nowhere to keep what was compiled
    sweep = njit(**_HOW)(_sweep)
