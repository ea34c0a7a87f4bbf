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


def read_mask(path: str | os.PathLike[str]) -> Mask:
    """Read a mask of any mode: white is foreground; where all colours are alike, the alpha channel is the mask.

    Raises:
        RaihaError: as `read_image`.
    """
    return mask_of(read_image(path))


def mask_of(picture: Picture) -> Mask:
    """A picture's brightest channel as a mask (masks are painted in any colour), or its alpha where its colours say nothing."""
    if picture.alpha is not None and picture.rgb.min() == picture.rgb.max():
        return alpha_mask(picture)
    red, green, blue = (picture.rgb[:, :, i] for i in range(3))
    return _unit(np.maximum(np.maximum(red, green), blue))


def alpha_mask(picture: Picture) -> Mask:
    """A picture's alpha as a mask.

    Raises:
        RaihaError: it has none.
    """
    if picture.alpha is None:
        raise RaihaError("The composite has no alpha channel to serve as its mask; give a mask.")
    return _unit(picture.alpha)


def _unit(plane: NDArray[Any]) -> Mask:
    scaled = plane.astype(np.float32) / np.float32(full_scale(plane))
    return np.clip(scaled, 0, 1, out=scaled)


def mask_from(array: NDArray[Any]) -> Mask:
    """A mask from an array `(H, W)` or `(H, W, C)` of uint8, uint16, bool or float.

    Raises:
        RaihaError: another shape or dtype, NaN or infinite values.
    """
    if array.ndim == 2 and array.dtype == np.float32 and array.size:
        if not np.isfinite(array).all():
            raise RaihaError("The mask holds NaN or infinite values; repair it first.")
        return np.clip(array, 0, 1)
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
    if not (mask > 0).any():
        raise RaihaError("The mask is empty (all black), so there is no foreground; paint the object white.")
    if (mask >= 1).all():
        raise RaihaError("The mask covers the whole picture, so there is no background to match; leave the background black.")
    return mask
