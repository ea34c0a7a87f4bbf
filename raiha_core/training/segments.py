"""Foregrounds for photos from nothing but their pixels: stretches of sky, ground, cloth or shadow, found by colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import felzenszwalb

SMALLEST, LARGEST = 0.02, 0.5  # of the picture


def find_segments(photo: NDArray[np.uint8], count: int, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    """Up to `count` segments of one colour, drawn at random, larger ones more often.

    Args:
        photo: `(S, S, 3)`, S even.
        rng: decides which of them are taken.

    Returns:
        masks `(S, S)`, 255 inside; fewer than `count` where the photo has no more segments of 2 to 50 % of it.

    Source: Felzenszwalb and Huttenlocher, "Efficient graph-based image segmentation" (2004), at half the size.
    """
    side = photo.shape[0]
    segments = felzenszwalb(photo[::2, ::2], scale=150, sigma=0.8, min_size=side * side // 400)
    area = np.bincount(segments.ravel()) / segments.size
    usable = np.flatnonzero((area >= SMALLEST) & (area <= LARGEST))
    count = min(count, len(usable))
    if not count:
        return []
    weight = np.sqrt(area[usable])
    chosen = rng.choice(usable, count, replace=False, p=weight / weight.sum())
    return [_smooth(segments == number, side) for number in chosen]


def _smooth(segment: NDArray[np.bool_], side: int) -> NDArray[np.uint8]:
    """Scale up to `(side, side)` without stairs."""
    return np.asarray(Image.fromarray(segment.astype(np.uint8) * 255).resize((side, side), Image.Resampling.BICUBIC))
