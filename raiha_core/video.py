"""Clips that do not flicker: one colour transform for all frames, or transforms smoothed over time.

A transform that jumps from frame to frame is seen as flicker even where each frame looks right on its own. Affine maps of
the same box can be averaged, since the picture is linear in them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .errors import RaihaError
from .harmonizer import PlacedTransform
from .image import Box, Mask, crop_box
from .models.base import AffineMap


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
    mean = _matrices(transforms).mean(0)
    return [replace(t, transform=AffineMap(mean)) for t in transforms]


def smooth(transforms: Sequence[PlacedTransform], frames: float) -> list[PlacedTransform]:
    """Transforms averaged over time with Gaussian weights, renormalised at both ends of the clip.

    Args:
        frames: standard deviation of the weights, in frames, > 0.

    Raises:
        RaihaError: the model gives transforms that cannot be averaged, or `frames` is not positive.
    """
    if not (math.isfinite(frames) and frames > 0):
        raise RaihaError(f"The smoothing is {frames} frames; give a positive number.")
    matrices = _matrices(transforms)
    at = torch.arange(len(matrices), dtype=torch.float32, device=matrices.device)
    weights = torch.softmax(-((at[:, None] - at) ** 2) / (2 * frames * frames), 1)
    smoothed = torch.einsum("tu,u...->t...", weights, matrices)
    return [replace(t, transform=AffineMap(m)) for t, m in zip(transforms, smoothed, strict=True)]


def flicker(transforms: Sequence[PlacedTransform]) -> float:
    """How much a transform changes from frame to frame: 255 times the mean change of a colour that it is applied to.

    Averaged over the map and the 27 colours with channels of 0, 0.5 or 1; in steps of 8-bit values, 0 for one frame.

    Raises:
        RaihaError: the transforms are not affine maps of one size.
    """
    matrices = _matrices(transforms)
    if len(matrices) < 2:
        return 0.0
    level = torch.tensor([0.0, 0.5, 1.0], device=matrices.device)
    colours = torch.cartesian_prod(level, level, level)
    change = (matrices[1:] - matrices[:-1]).unflatten(1, (3, 4))
    moved = torch.einsum("tokhw,ck->tochw", change[:, :, :3], colours) + change[:, :, 3:]
    return float(moved.abs().mean() * 255)


def _matrices(transforms: Sequence[PlacedTransform]) -> Tensor:
    maps = [t.transform for t in transforms]
    if not maps or not all(isinstance(m, AffineMap) for m in maps) or len({t.box for t in transforms}) > 1:
        raise RaihaError("The transforms of this model cannot be averaged over time; use raiha-s, or harmonise each frame on its own.")
    return torch.stack([m.matrix for m in maps if isinstance(m, AffineMap)])
