"""Masks: read, checked, fitted to their composite."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import RaihaError
from .files import read_image
from .picture import Picture, from_array, full_scale

Mask = NDArray[np.float32]
"""`(H, W)` float32 in [0, 1], 1 = foreground."""

_JPEG_NOISE = 0.06


def read_mask(path: str | os.PathLike[str]) -> Mask:
    """Read a mask of any mode: white is foreground; of a cut-out with transparency, the alpha channel is the mask.

    A label mask of zeros and ones counts as black and white. In a JPEG, what is nearly black or white becomes so, since
    its noise would otherwise make the whole picture faintly foreground.

    Raises:
        RaihaError: as `read_image`.
    """
    mask = mask_of(read_image(path))
    with open(path, "rb") as file:
        noisy = file.read(3) == b"\xff\xd8\xff"
    if noisy:
        mask[mask < _JPEG_NOISE] = 0
        mask[mask > 1 - _JPEG_NOISE] = 1
    return mask


def mask_of(picture: Picture) -> Mask:
    """A picture as a mask.

    Opaque pictures: their brightest channel, since masks are painted in any colour. Pictures with transparency: their
    alpha, as in cut-outs; times the brightness where what is visible is black and white.
    """
    red, green, blue = (picture.rgb[:, :, i] for i in range(3))
    bright = _unit(red if picture.grey else np.maximum(np.maximum(red, green), blue))
    if picture.alpha is None:
        return bright
    alpha = alpha_mask(picture)
    if alpha.min() >= 1:
        return bright
    visible = bright[alpha > 0]
    drawn = visible.size > 0 and visible.min() < 0.05 and visible.max() > 0.95 and not ((visible > 0.05) & (visible < 0.95)).any()
    return alpha * bright if drawn else alpha


def alpha_mask(picture: Picture) -> Mask:
    """A picture's alpha as a mask.

    Raises:
        RaihaError: it has none.
    """
    if picture.alpha is None:
        raise RaihaError("The composite has no alpha channel to serve as its mask; give a mask.")
    return _unit(picture.alpha)


def _unit(plane: NDArray[Any]) -> Mask:
    # A mask that is nowhere brighter than 1/255 is not a dark mask but one of labels.
    white = 1.0 if plane.dtype.kind == "u" and plane.max() == 1 else full_scale(plane)
    scaled: Mask = plane.astype(np.float32)
    if white > 1:
        scaled /= np.float32(white)
    return np.clip(scaled, 0, 1, out=scaled)


def mask_from(array: NDArray[Any]) -> Mask:
    """A mask from an array `(H, W)` or `(H, W, C)` of uint8, uint16, bool or float.

    Raises:
        RaihaError: another shape or dtype, NaN or infinite values.
    """
    if array.ndim == 2 and array.dtype == np.float32 and array.size:
        if not (np.isfinite(array.min()) and np.isfinite(array.max())):
            raise RaihaError("The mask holds NaN or infinite values; repair it first.")
        clipped: Mask = np.clip(array, 0, 1)
        return clipped
    return mask_of(from_array(np.asarray(array), "The mask"))


def fit_mask(mask: Mask, size: tuple[int, int], resize: bool = False) -> Mask:
    """Check a mask against its composite's (height, width).

    Args:
        resize: scale a mask of another size (bilinear, antialiased) instead of refusing it.

    Raises:
        RaihaError: another size, an empty mask, or one that leaves no background.
    """
    if mask.shape != size:
        if not resize:
            raise RaihaError(
                f"The mask is {mask.shape[1]} x {mask.shape[0]} but the composite is {size[1]} x {size[0]}; "
                "give a mask of the same size, or allow scaling it (--resize-mask, resize_mask=True)."
            )
        mask = (
            torch.nn.functional.interpolate(torch.from_numpy(mask)[None, None], size=size, mode="bilinear", antialias=True)[0, 0]
            .clamp(0, 1)
            .numpy()
        )
    if not mask.max() > 0:
        raise RaihaError("The mask is empty (all black), so there is no foreground; paint the object white.")
    if mask.min() >= 1:
        raise RaihaError("The mask covers the whole picture, so there is no background to match; leave the background black.")
    return mask
