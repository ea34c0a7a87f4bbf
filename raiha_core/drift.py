"""What inpainting or a trip through a VAE did to the whole picture, taken back.

A picture that has been through a VAE comes back shifted in colour and tone, also where nothing was painted. Outside the mask the
shift can be seen, since the original is known there; it is fitted as a smooth map of colours and taken back inside, so that what was
painted fits the original when it is stitched in.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .apply import PlacedTransform, apply_transform
from .errors import RaihaError
from .image import Box, Mask, Picture, full_scale, shrink
from .models.base import AffineMap

_SIDE, _CELLS = 256, 16
_MARGIN = 5
"""Pixels around the mask in which the painted object may still be seen."""

_SOFT = 2.0
"""Deviation of the blur before the comparison, in pixels: a VAE softens, which is no lost contrast."""

_SPREAD = _SIDE / 6
"""Deviation of the weights with which the shift is averaged over places, in pixels."""

_CONTRAST = 0.03
"""Contrast below which a channel's gain cannot be told, so that it is drawn to 1."""

_GAINS = (0.6, 1.6)


def fit_drift(shifted: Picture, original: Picture, mask: Mask) -> AffineMap:
    """The map from a picture's shifted colours to the original's, from what lies outside the mask.

    A VAE changes the contrast of each channel, and lifts it, here a little more than there. So that is all that is fitted: a gain for
    each channel, and a shift that varies smoothly. Richer maps fit better outside, but say anything about colours that only the
    object has.

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
    s, t = (_blur(x * outside, _SOFT) / (_blur(outside, _SOFT) + 1e-6) for x in (s, t))
    mean_s, mean_t = _mean(s, outside), _mean(t, outside)
    known = _CONTRAST * _CONTRAST
    gain = (_mean((s - mean_s) * (t - mean_t), outside) + known) / (_mean((s - mean_s).square(), outside) + known)
    gain = gain.clamp(*_GAINS)
    # Deep inside a large mask nothing is near: there the mean of all serves.
    local = (_blur((t - gain * s) * outside, _SPREAD) + 0.01 * (mean_t - gain * mean_s)) / (_blur(outside, _SPREAD) + 0.01)
    shift = F.adaptive_avg_pool2d(local, _CELLS)[0]
    matrix = torch.diag(gain.flatten())[:, :, None, None].expand(3, 3, _CELLS, _CELLS)
    return AffineMap(torch.cat([matrix, shift[:, None]], 1).flatten(0, 1).contiguous())


def _mean(x: Tensor, weight: Tensor) -> Tensor:
    return (x * weight).sum((2, 3), keepdim=True) / weight.sum()


def _blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of `(1, C, S, S)`; divide by a blurred weight."""
    at = torch.arange(x.shape[-1], dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * ((at[:, None] - at) / sigma).square())
    kernel = kernel / kernel.sum(1, keepdim=True)
    return kernel @ x @ kernel.mT


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
