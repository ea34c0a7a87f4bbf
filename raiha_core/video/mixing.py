"""Transforms of a clip, averaged or smoothed over time, and how much they flicker.

Affine maps of the same box can be averaged, since the picture is linear in them. What rhnet draws beside its affine maps (the
residual of `LocalColours`) belongs to one frame's pixels, so it is left out.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import RaihaError
from ..harmonizer import PlacedTransform
from ..image import Box, Mask, crop_box
from ..models.base import AffineMap, ColorTransform
from ..models.guided import LocalColours

_POSITIONS = 16
"""Rows and columns at which `flicker` looks at a transform."""
_FORGOTTEN = 20.0
"""Weights that are below exp(-20) of the largest move no result."""


def common_box(masks: Iterable[Mask], size: tuple[int, int], crops: bool) -> Box:
    """One box for a whole clip, around everywhere the foreground ever is.

    Args:
        masks: `(H, W)` each; at least one, and one not empty.
        size: (height, width) of the frames.
        crops: as the model's attribute says.
    """
    if not crops:
        return Box(0, 0, *size)
    union: Mask | None = None
    for mask in masks:
        union = mask.copy() if union is None else np.maximum(union, mask, out=union)
    assert union is not None, "a clip without masks"
    return crop_box(union)


def average(transforms: Sequence[PlacedTransform]) -> list[PlacedTransform]:
    """The mean transform for every frame.

    Raises:
        RaihaError: the model gives transforms that cannot be averaged.
    """
    return [mean(transforms)] * len(transforms)


def mean(transforms: Sequence[PlacedTransform]) -> PlacedTransform:
    """The mean transform of a clip, read one after the other.

    Raises:
        RaihaError: as `average`.
    """
    total, first = torch.zeros(()), transforms[0]
    for placed in transforms:
        total = total + linear_part(placed, first).double()
    return replace(first, transform=like_part(first, (total / len(transforms)).float()))


def smooth(
    transforms: Sequence[PlacedTransform], frames: float, at: Sequence[int] | None = None, to: Sequence[int] | None = None
) -> list[PlacedTransform]:
    """Transforms averaged over time with Gaussian weights, renormalised at both ends of the clip.

    Args:
        frames: standard deviation of the weights, in frames, > 0.
        at: the frames that the transforms belong to, rising; None: one after the other.
        to: the frames to give transforms to; None: the same.

    Raises:
        RaihaError: the model gives transforms that cannot be averaged, or `frames` is not positive.
    """
    now = range(len(transforms)) if at is None else at
    smoothed = Smoothed(transforms, frames, now)
    return [smoothed.at(t) for t in (now if to is None else to)]


class Smoothed:
    """Transforms smoothed over time, each made when it is asked for. Arguments and errors are those of `smooth`."""

    def __init__(self, transforms: Sequence[PlacedTransform], frames: float, at: Sequence[int]):
        check_smoothing(frames)
        self._transforms, self._frames, self._at = transforms, frames, at

    def at(self, frame: int) -> PlacedTransform:
        """The transform of a frame, which need not be one of those that were looked at."""
        where = bisect_left(self._at, frame)
        nearest = min(abs(t - frame) for t in self._at[max(0, where - 1) : where + 1])
        reach = math.sqrt(nearest**2 + 2 * _FORGOTTEN * self._frames**2)
        first, last = bisect_left(self._at, frame - reach), bisect_right(self._at, frame + reach)
        times = torch.as_tensor([float(t - frame) for t in self._at[first:last]], dtype=torch.float64)
        weights = torch.softmax(-(times**2) / (2 * self._frames**2), 0).float()
        model = self._transforms[first]
        parts = torch.stack([linear_part(self._transforms[i], model) for i in range(first, last)])
        return replace(model, transform=like_part(model, torch.einsum("u,u...->...", weights.to(parts), parts)))


def check_smoothing(frames: float) -> None:
    """Refuse a deviation that is none.

    Raises:
        RaihaError: it is not positive.
    """
    if not (math.isfinite(frames) and frames > 0):
        raise RaihaError(f"The smoothing is {frames} frames; give a positive number.")


def linear_part(placed: PlacedTransform, first: PlacedTransform) -> Tensor:
    """The matrix in which a transform is linear, of the same shape and box as the first one's.

    Raises:
        RaihaError: the transforms cannot be averaged.
    """
    own: Any = placed.transform
    other: Any = first.transform
    both = isinstance(own, AffineMap | LocalColours) and isinstance(other, AffineMap | LocalColours)
    if both and placed.box == first.box and type(own) is type(other) and own.matrix.shape == other.matrix.shape:
        matrix: Tensor = own.matrix
        return matrix
    raise RaihaError("The transforms of this model cannot be averaged over time; harmonise each frame on its own.")


def like_part(first: PlacedTransform, matrix: Tensor) -> ColorTransform:
    """A transform of the kind of the first one, with this matrix."""
    if isinstance(first.transform, AffineMap):
        return AffineMap(matrix)
    return LocalColours(matrix, torch.zeros(3, 1, 1, device=matrix.device))


def flicker(transforms: Sequence[PlacedTransform]) -> float:
    """How much a transform changes from frame to frame: 255 times the mean change of a colour that it is applied to.

    Averaged over places and the 27 colours with channels of 0, 0.5 or 1; in steps of 8-bit values, 0 for one frame.

    Raises:
        RaihaError: the transforms are not all of one box.
    """
    if len({t.box for t in transforms}) > 1:
        raise RaihaError("The transforms are of different boxes, so they cannot be compared; predict them with one common box.")
    moved = (_moved(t) for t in transforms)
    changes = [(after - before).abs().mean() for before, after in pairwise(moved)]
    return float(torch.stack(changes).mean() * 255) if changes else 0.0


def _moved(placed: PlacedTransform) -> Tensor:
    """What becomes of the colours that `flicker` looks at, `(27, 1, 3, 16, 16)`."""
    at = (torch.arange(_POSITIONS) + 0.5) / _POSITIONS
    level = torch.tensor([0.0, 0.5, 1.0])
    transform = placed.transform.to("cpu")
    colours = torch.cartesian_prod(level, level, level)
    return torch.stack([transform(c[None, :, None, None].expand(1, 3, _POSITIONS, _POSITIONS), at, at) for c in colours])
