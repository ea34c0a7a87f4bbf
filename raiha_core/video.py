"""Clips that do not flicker: one colour transform for all frames, or transforms smoothed over time.

A transform that jumps from frame to frame is seen as flicker even where each frame looks right on its own. Affine maps of
the same box can be averaged, since the picture is linear in them. What rhnet draws beside its affine maps (the residual of
`LocalColours`) belongs to one frame's pixels, so it is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from .errors import RaihaError
from .harmonizer import PlacedTransform
from .image import Box, Mask, crop_box
from .models.base import AffineMap, ColorTransform
from .models.guided import LocalColours

_POSITIONS = 16
"""Rows and columns at which `flicker` looks at a transform."""


def common_box(masks: Sequence[Mask], size: tuple[int, int], crops: bool) -> Box:
    """One box for a whole clip, around everywhere the foreground ever is.

    Args:
        masks: `(H, W)` each; at least one not empty.
        size: (height, width) of the frames.
        crops: as the model's attribute says.
    """
    if not crops:
        return Box(0, 0, *size)
    union = masks[0]
    for mask in masks[1:]:
        union = np.maximum(union, mask)
    return crop_box(union)


def average(transforms: Sequence[PlacedTransform]) -> list[PlacedTransform]:
    """The mean transform for every frame.

    Raises:
        RaihaError: the model gives transforms that cannot be averaged.
    """
    count = len(transforms)
    [mean] = _mixed(transforms, torch.full((1, count), 1 / max(1, count)))
    return [replace(t, transform=mean) for t in transforms]


def smooth(transforms: Sequence[PlacedTransform], frames: float) -> list[PlacedTransform]:
    """Transforms averaged over time with Gaussian weights, renormalised at both ends of the clip.

    Args:
        frames: standard deviation of the weights, in frames, > 0.

    Raises:
        RaihaError: the model gives transforms that cannot be averaged, or `frames` is not positive.
    """
    if not (math.isfinite(frames) and frames > 0):
        raise RaihaError(f"The smoothing is {frames} frames; give a positive number.")
    at = torch.arange(len(transforms), dtype=torch.float32)
    smoothed = _mixed(transforms, torch.softmax(-((at[:, None] - at) ** 2) / (2 * frames * frames), 1))
    return [replace(t, transform=m) for t, m in zip(transforms, smoothed, strict=True)]


def flicker(transforms: Sequence[PlacedTransform]) -> float:
    """How much a transform changes from frame to frame: 255 times the mean change of a colour that it is applied to.

    Averaged over places and the 27 colours with channels of 0, 0.5 or 1; in steps of 8-bit values, 0 for one frame.

    Raises:
        RaihaError: the transforms are not all of one box.
    """
    if len({t.box for t in transforms}) > 1:
        raise RaihaError("The transforms are of different boxes, so they cannot be compared; predict them with one common box.")
    moved = [_moved(t) for t in transforms]
    changes = [(after - before).abs().mean() for before, after in pairwise(moved)]
    return float(torch.stack(changes).mean() * 255) if changes else 0.0


def _moved(placed: PlacedTransform) -> Tensor:
    """What becomes of the colours that `flicker` looks at, `(27, 1, 3, 16, 16)`."""
    at = (torch.arange(_POSITIONS) + 0.5) / _POSITIONS
    level = torch.tensor([0.0, 0.5, 1.0])
    transform = placed.transform.to("cpu")
    colours = torch.cartesian_prod(level, level, level)
    return torch.stack([transform(c[None, :, None, None].expand(1, 3, _POSITIONS, _POSITIONS), at, at) for c in colours])


def _mixed(transforms: Sequence[PlacedTransform], weights: Tensor) -> list[ColorTransform]:
    """Weighted sums of transforms, one for each row of `weights`."""
    maps = [t.transform for t in transforms]
    affine = [m for m in maps if isinstance(m, AffineMap)]
    local = [m for m in maps if isinstance(m, LocalColours)]
    stacked = [m.matrix for m in affine or local]
    same = len({m.shape for m in stacked}) == 1 and len({t.box for t in transforms}) == 1
    if not (same and len(stacked) == len(maps)):
        raise RaihaError("The transforms of this model cannot be averaged over time; harmonise each frame on its own.")
    sums = torch.einsum("tu,u...->t...", weights.to(stacked[0]), torch.stack(stacked))
    if affine:
        return [AffineMap(m) for m in sums]
    return [LocalColours(m, torch.zeros(3, 1, 1, device=m.device)) for m in sums]
