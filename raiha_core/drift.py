"""What inpainting or a trip through a VAE did to the whole picture, taken back.

A picture that has been through a VAE comes back shifted in colour and tone, also where nothing was painted. Outside the mask the
shift can be seen, since the original is known there; it is fitted as a smooth map of colours and taken back inside, so that what was
painted fits the original when it is stitched in.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from .apply import PlacedTransform, apply_transform
from .errors import RaihaError
from .image import Box, Mask, Picture, full_scale, shrink
from .models.guided import LocalColours, fit_local_colours

_SIDE, _CELLS, _LEVELS = 256, 6, 4
_MARGIN = 5
"""Pixels around the mask in which the painted object may still be seen."""


def fit_drift(shifted: Picture, original: Picture, mask: Mask) -> LocalColours:
    """The map from a picture's shifted colours to the original's, from what lies outside the mask.

    Args:
        shifted: the picture after inpainting, with the shift.
        original: the picture before, of the same size.
        mask: `(H, W)` in [0, 1], white where something was painted.

    Raises:
        RaihaError: other sizes, or nothing lies outside the mask.
    """
    if shifted.size != original.size:
        (height, width), (rows, columns) = shifted.size, original.size
        raise RaihaError(
            f"The image is {width} x {height} but the original {columns} x {rows}; connect the crop that was inpainted, or scale one of "
            "them."
        )
    box = Box(0, 0, *shifted.size)
    s, t = (shrink(p.rgb, box, _SIDE).clamp(0, 1) for p in (shifted, original))
    painted = F.max_pool2d(shrink(mask, box, _SIDE), 2 * _MARGIN + 1, 1, _MARGIN)
    outside = (1 - painted.clamp(0, 1)) * (painted < 0.02)
    if float(outside.mean()) < 0.005:
        raise RaihaError("The mask leaves too little of the original to tell the shift from; take a larger crop around the object.")
    fitted = fit_local_colours(s, t, outside, cells=_CELLS, levels=_LEVELS, ridge=1e-3)
    return LocalColours(fitted.matrix, torch.zeros(3, 1, 1))


def undo_drift(shifted: Picture, original: Picture, mask: Mask) -> Picture:
    """The inpainted picture without the shift: the original outside the mask, bit for bit; inside, what was painted, shifted back.

    Raises:
        RaihaError: see `fit_drift`.
    """
    drift = fit_drift(shifted, original, mask)
    back = apply_transform(shifted, (mask > 0).astype(np.float32), PlacedTransform(drift, Box(0, 0, *shifted.size)))
    weight = mask[..., None]
    scale = np.float32(full_scale(original.rgb) / full_scale(shifted.rgb))
    mixed = original.rgb.astype(np.float32) * (1 - weight) + back.rgb.astype(np.float32) * (scale * weight)
    if original.rgb.dtype != np.float32:
        mixed = np.rint(mixed)
    return original.with_rgb(np.where(weight > 0, mixed.astype(original.rgb.dtype), original.rgb))
