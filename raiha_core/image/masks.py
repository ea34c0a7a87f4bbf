"""Masks: read, checked, fitted to their composite."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import EmptyMaskError, RaihaError
from ..parallel import extremes
from .files import read_image, turned
from .picture import Picture, from_array, full_scale

Mask = NDArray[np.float32]
"""`(H, W)` float32 in [0, 1], 1 = foreground."""

JPEG_NOISE = 0.06
WHITE = 0.95
"""A mask whose brightest value lies below this share of white is not merely white that was saved a little dark."""
FLOAT_WHITE = 2.0
"""Resampling overshoots white, by less than this; float masks beyond it count in other units, such as 0 to 255."""


class NotedMask(NamedTuple):
    """A mask and what its user should know about how it was understood.

    Attributes:
        mask: its brightest value at 1.
        notices: sentences.
        peak: what its brightest value was before, in units of the dtype's white; 0 where it is black.
        noisy: it was stored with losses, so what is nearly black is black.
    """

    mask: Mask
    notices: tuple[str, ...] = ()
    peak: float = 1.0
    noisy: bool = False


class FittedMask(NamedTuple):
    """A mask of its composite's size, and what its user should know about how it was understood."""

    mask: Mask
    notices: tuple[str, ...] = ()


def among(noted: NotedMask, brightest: float) -> Mask:
    """A mask of several, such as those of a clip: it keeps its share of the brightest value of all, so that an object may fade.

    Args:
        brightest: the highest `peak` of them.
    """
    share = noted.peak / brightest if brightest > 0 else 0.0
    if share >= 1:
        return noted.mask
    mask: Mask = noted.mask * np.float32(share)
    if noted.noisy:
        mask[mask < JPEG_NOISE] = 0
    return mask


def read_mask(path: str | os.PathLike[str]) -> Mask:
    """Read a mask of any mode: white is foreground; of a cut-out with transparency, the alpha channel is the mask.

    The brightest value counts as white, so that label masks and dimmed ones mean what a white one means. In a JPEG, what is
    nearly black or white becomes so, since its noise would otherwise make the whole picture faintly foreground.

    Raises:
        RaihaError: as `read_image`.
    """
    return read_noted_mask(path).mask


def read_noted_mask(path: str | os.PathLike[str], page: int | None = None) -> NotedMask:
    """As `read_mask`, with what should be said; `page` as in `read_image`, but a file of fewer pages gives its first."""
    picture = read_image(path, page, mask=True)
    mask, notices, peak, _ = noted_mask_of(picture)
    with open(path, "rb") as file:
        noisy = file.read(3) == b"\xff\xd8\xff"
    if noisy:
        mask[mask < JPEG_NOISE] = 0
        mask[mask > 1 - JPEG_NOISE] = 1
    return NotedMask(mask, picture.notices + notices, peak, noisy)


def mask_of(picture: Picture) -> Mask:
    """A picture as a mask.

    Opaque pictures: their brightest channel, since masks are painted in any colour. Pictures with transparency: their
    alpha, as in cut-outs; times the brightness where what is visible is black and white.
    """
    return noted_mask_of(picture).mask


def noted_mask_of(picture: Picture) -> NotedMask:
    """As `mask_of`, with what should be said."""
    red, green, blue = (picture.rgb[:, :, i] for i in range(3))
    bright = red if picture.grey else np.maximum(np.maximum(red, green), blue)
    if picture.alpha is None:
        return _to_white(bright)
    alpha, notices, peak, _ = _to_white(picture.alpha)
    if alpha.min() >= 1:
        return _to_white(bright)
    drawing = _to_white(bright).mask
    visible = drawing[alpha > 0]
    drawn = visible.size > 0 and visible.min() < 0.05 and visible.max() > 0.95 and not ((visible > 0.05) & (visible < 0.95)).any()
    return NotedMask(alpha * drawing if drawn else alpha, notices, peak)


def alpha_mask(picture: Picture) -> Mask:
    """A composite's alpha as its mask; see `noted_alpha_mask`."""
    return noted_alpha_mask(picture).mask


def noted_alpha_mask(picture: Picture) -> NotedMask:
    """A composite's alpha as its mask: what is opaque is the object.

    An alpha that is opaque but for a hole within the picture marks the hole: so do mask editors, ComfyUI's among them, save
    what was painted.

    Raises:
        RaihaError: it has none, or one that is opaque everywhere, or a hole that holds no picture.
    """
    if picture.alpha is None:
        raise RaihaError("The composite has no alpha channel to serve as its mask; give a mask.")
    alpha, notices, _, _ = _to_white(picture.alpha)
    if alpha.min() >= 1:
        raise RaihaError("The composite's alpha channel is opaque everywhere, so it marks no object; give a mask.")
    border = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
    if border.min() < 1 or min(alpha.shape) < 3:
        return NotedMask(alpha, notices)
    hidden = picture.rgb[alpha == 0]
    if picture.premultiplied or not len(hidden) or (hidden == hidden[0]).all():
        raise RaihaError("The composite's alpha channel has a hole but nothing lies in it, so there is no object; give a mask.")
    said = (
        "The composite is opaque but for a hole, as mask editors save it, so the hole was taken for the object; if it is not, give a mask."
    )
    return NotedMask(1 - alpha, (*notices, said))


def _to_white(plane: NDArray[Any], known: tuple[float, float] | None = None) -> NotedMask:
    """A plane in [0, 1], its brightest value at 1: a mask has one meaning, whatever value its maker gave to the foreground.

    Args:
        known: its least and its highest value, where they are: a large mask is looked at no more often than it must.
    """
    least, top = known or extremes(plane)
    full = full_scale(plane)
    white = top if full == 1 and top > FLOAT_WHITE else full
    # Resampling overshoots, which makes nothing whiter than white.
    peak = max(0.0, top / full if full > 1 else top if top > FLOAT_WHITE else min(top, 1.0))
    if top == white == 1 and plane.dtype == np.float32 and plane.flags.writeable and least >= 0:
        return NotedMask(plane, (), peak)
    # One pass, without a copy of all samples as floats before.
    mask: Mask = np.divide(plane, np.float32(white), dtype=np.float32, casting="unsafe")
    if full == 1:
        np.clip(mask, 0, 1, out=mask)
    share = min(top / white, 1.0)
    if 0 < share < 1:
        mask /= mask.max()
    if white != full or 0 < share < WHITE:
        shown = f"{top:.3g}" if plane.dtype.kind == "f" else f"{top:.0f} of {white:.0f}"
        return NotedMask(mask, (f"The mask's brightest value is {shown}; it was taken for white.",), peak)
    return NotedMask(mask, (), peak)


def mask_from(array: NDArray[Any]) -> Mask:
    """A mask from an array `(H, W)` or `(H, W, C)` of uint8, uint16, bool or float; its brightest value counts as white.

    Raises:
        RaihaError: another shape or dtype, NaN or infinite values.
    """
    return noted_mask_from(array).mask


def noted_mask_from(array: NDArray[Any]) -> NotedMask:
    """As `mask_from`, with what should be said."""
    array = np.asarray(array)
    if array.ndim == 2 and array.dtype == np.float32 and array.size:
        least, most = extremes(array)
        if not (np.isfinite(least) and np.isfinite(most)):
            raise RaihaError("The mask holds NaN or infinite values; repair it first.")
        return _to_white(array, (least, most))
    return noted_mask_of(from_array(array, "The mask"))


def resized(mask: Mask, size: tuple[int, int]) -> Mask:
    """A mask scaled to (height, width): bilinear, antialiased."""
    planes = torch.from_numpy(mask)[None, None]
    whole: Mask = torch.nn.functional.interpolate(planes, size=size, mode="bilinear", antialias=True)[0, 0].clamp(0, 1).numpy()
    return whole


def fit_mask(mask: Mask, size: tuple[int, int], resize: bool = False) -> Mask:
    """Check a mask against its composite's (height, width).

    Args:
        resize: scale a mask of another size (bilinear, antialiased) instead of refusing it.

    Raises:
        RaihaError: another size, an empty mask, or one that leaves no background.
    """
    if mask.shape != size:
        if not resize:
            raise other_size((mask.shape[0], mask.shape[1]), size)
        mask = resized(mask, size)
    check_extremes(*extremes(mask))
    return mask


def other_size(mask: tuple[int, int], composite: tuple[int, int]) -> RaihaError:
    """The error for a mask of another (height, width) than its composite."""
    return RaihaError(
        f"The mask is {mask[1]} x {mask[0]} but the composite is {composite[1]} x {composite[0]}; "
        "give a mask of the same size, or allow scaling it (--resize-mask, resize_mask=True)."
    )


def check_extremes(least: float, most: float) -> None:
    """Refuse a mask without foreground or without background, by its least and its highest value.

    Raises:
        RaihaError: says which.
    """
    if not most > 0:
        raise EmptyMaskError("The mask is empty (all black), so there is no foreground; paint the object white.")
    if least >= 1:
        raise RaihaError("The mask covers the whole picture, so there is no background to match; leave the background black.")


def fit_noted_mask(noted: NotedMask, picture: Picture, resize: bool = False) -> FittedMask:
    """As `fit_mask`; a mask made for the picture as its file stores it, before its orientation was applied, is turned with it.

    Raises:
        RaihaError: as `fit_mask`.
    """
    mask, notices = noted.mask, noted.notices
    if mask.shape != picture.size and mask.shape == picture.size[::-1] and picture.orientation >= 5:
        mask = turned(mask, picture.orientation)
        how = f"EXIF orientation {picture.orientation}"
        notices += (f"The composite is stored turned ({how}) and the mask fits it so; the mask was turned, too.",)
    return FittedMask(fit_mask(mask, picture.size, resize), notices)
