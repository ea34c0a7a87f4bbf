"""The look of an edited version brought to the original: its light and colour, with the original's every pixel kept.

A relighting model, an edit model or a trip through a VAE gives a version of a picture that has the wanted light but not the picture's
detail: it is small, soft, its letters and faces are drawn anew. What changed from the original to it is fitted as locally affine maps over
place and brightness (`models.guided`) and applied to the original's pixels, so that no detail of the version's can come in, and none
of the original's can be lost. Where the two do not show the same (things that moved, were invented or left out), only the smooth part of
the change is believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .apply import PlacedTransform, apply_transform
from .errors import RaihaError
from .image import Box, Mask, NotedMask, Picture, fit_noted_mask, shrink
from .image.masks import FittedMask
from .image.view import view
from .inputs import ImageLike, as_picture, like, noted_mask
from .models.guided import LocalColours, fit_local_colours
from .settings import checked_device, within

SIDE = 384
"""Pixels of the squares on which the change is fitted."""

_CELLS = 24
_SOFTNESS = (0.0, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)
"""By how many pixels a version may be softer than the original: the fit must not take that for lost contrast."""
_COARSE = 10.0
"""Deviation of what counts as shape, not as detail, where softness is compared, in pixels."""
_WINDOW = 6.0
"""Deviation of the window in which the two are compared, in pixels."""
_FLAT = 0.012
"""Contrast below which an area counts as flat, as it is in both where nothing was drawn."""
_BELIEVED = (0.35, 0.75)
"""Local correlation at which the belief in a version's detail begins, and at which it is full."""
_REACH = 20.0
"""Deviation of what counts as the smooth part of the change, in pixels."""
_GAIN = (0.1, 8.0)
_PROPORTIONS = 0.06
"""By how much the proportions of the two may differ: models cut sizes to multiples of 64."""


@dataclass(frozen=True)
class Look:
    """What an edit did to a picture.

    Attributes:
        transform: the change of colour on the picture's unit square.
        confidence: `(SIDE, SIDE)` in [0, 1], where original and version show the same, so that the change was followed in detail.
    """

    transform: LocalColours
    confidence: Tensor


def fit_look(original: Picture, version: Picture, mask: Mask | None = None, device: torch.device | str | None = None) -> Look:
    """Find out what changed the colours from a picture to a version of it.

    Args:
        original: the picture, any size.
        version: the same picture edited, of any size.
        mask: `(H, W)` in [0, 1] of the original; only what lies under it is compared. None: everything.

    Raises:
        RaihaError: their proportions differ, so that one is a part of the other; a device that is not to be had.
    """
    chosen = checked_device(device)
    (height, width), (rows, columns) = original.size, version.size
    if abs(height * columns / (width * rows) - 1) > _PROPORTIONS:
        raise RaihaError(
            f"The original is {width} x {height} but the version {columns} x {rows}, which are other proportions; "
            "give a version of the whole picture."
        )
    s, t = (view(p, Box(0, 0, *p.size), SIDE).clamp(0, 1).to(chosen) for p in (original, version))
    weight = torch.ones_like(s[:, :1])
    if mask is not None:
        weight = shrink(mask, Box(0, 0, *mask.shape), SIDE).clamp(0, 1).to(s)
    t = _aligned(s, t)
    s = _as_soft_as(s, t)
    confidence = _confidence(s, t)
    wanted = torch.lerp(_relit(s, t, (confidence + 0.05) * weight), t, confidence)
    fitted = fit_local_colours(s, wanted, weight, cells=_CELLS)
    # The residual is the drawing of the version, which is what is not wanted.
    return Look(LocalColours(fitted.matrix, torch.zeros(3, 1, 1, device=fitted.matrix.device)), confidence[0, 0])


def transfer_look(
    original: ImageLike,
    version: ImageLike,
    mask: ImageLike | None = None,
    *,
    strength: float = 1.0,
    resize_mask: bool = False,
    device: torch.device | str | None = None,
) -> Any:
    """Give a picture the light and colour of an edited version of it, and keep every detail of its own.

    Args:
        original: path, `Picture`, PIL image, array or tensor `(3, H, W)`, as `harmonize` takes it.
        version: what a relighting or edit model, a VAE or a grade made of it, of any size, in any of these forms.
        mask: where to change anything; None: everywhere.
        strength: 0 (the original) to 1 (the full change).
        resize_mask: scale a mask of another size instead of refusing it.
        device: where to compute.

    Returns:
        a picture of the original's kind, size and depth; outside the mask it is the original, bit for bit.

    Raises:
        RaihaError: a picture or mask that cannot be read or does not fit.
    """
    strength = within(strength, 1, "strength")
    picture, edited = as_picture(original, "The original"), as_picture(version, "The version")
    fitted = np.ones(picture.size, np.float32)
    if mask is not None:
        fitted = fit_region(noted_mask(mask, picture), picture, resize_mask).mask
    look = fit_look(picture, edited, None if mask is None else fitted, device)
    return like(apply_look(picture, look, fitted, strength), original)


def fit_region(mask: NotedMask, picture: Picture, resize: bool = False) -> FittedMask:
    """As `fit_noted_mask`; other than for harmonising, a mask may cover everything."""
    if mask.mask.shape == picture.size and mask.mask.min() >= 1:
        return FittedMask(mask.mask, mask.notices)
    return fit_noted_mask(mask, picture, resize)


def apply_look(original: Picture, look: Look, mask: Mask, strength: float = 1.0) -> Picture:
    """The original with the change, as far as the mask and the strength say."""
    placed = PlacedTransform(look.transform, Box(0, 0, *original.size))
    return apply_transform(original, mask, placed, strength, device=look.transform.matrix.device)


def _blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of `(1, C, S, S)`; beyond the border there is nothing, so divide by a blurred weight."""
    at = torch.arange(x.shape[-1], dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * ((at[:, None] - at) / sigma).square())
    kernel = kernel / kernel.sum(1, keepdim=True)
    return kernel @ x @ kernel.mT


def _light(rgb: Tensor) -> Tensor:
    return (rgb * rgb.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def _as_soft_as(s: Tensor, t: Tensor) -> Tensor:
    """The original, blurred until its detail is most like the version's. In logarithms, so that a smooth light makes no difference."""
    light_s, light_t = ((_light(x) + 0.05).log() for x in (s, t))
    fine = light_t - _blur(light_t, _COARSE)
    soft = [_blur(light_s, sigma) if sigma else light_s for sigma in _SOFTNESS]
    alike = [_alike(x - _blur(x, _COARSE), fine) for x in soft]
    sigma = _SOFTNESS[int(np.argmax(alike))]
    return _blur(s, sigma) if sigma else s


def _confidence(s: Tensor, t: Tensor) -> Tensor:
    """Where both show the same, `(1, 1, S, S)` in [0, 1]: the correlation of their light in a small window, whatever its level is."""
    a, b = (_blur(_light(x), 1.0) for x in (s, t))
    mean_a, mean_b = _blur(a, _WINDOW), _blur(b, _WINDOW)
    flat = _FLAT * _FLAT
    var_a = (_blur(a * a, _WINDOW) - mean_a * mean_a).clamp_min(0) + flat
    var_b = (_blur(b * b, _WINDOW) - mean_b * mean_b).clamp_min(0) + flat
    both = _blur(a * b, _WINDOW) - mean_a * mean_b + flat
    low, high = _BELIEVED
    share = ((both / (var_a * var_b).sqrt() - low) / (high - low)).clamp(0, 1)
    return share * share * (3 - 2 * share)


def _relit(s: Tensor, t: Tensor, weight: Tensor) -> Tensor:
    """The original with only the smooth part of the change: every channel brighter by what its surroundings became."""
    total = _blur(weight, _REACH) + 1e-6
    before, after = (_blur(x * weight, _REACH) / total for x in (s, t))
    return s * ((after + 0.01) / (before + 0.01)).clamp(*_GAIN)


def _aligned(s: Tensor, t: Tensor) -> Tensor:
    """The version moved by whole pixels to where the original is, where that makes the two more alike (phase correlation)."""
    edges = [_light(x) - _blur(_light(x), 3.0) for x in (s, t)]
    window = torch.hann_window(SIDE, periodic=False, device=s.device)
    spectrum_s, spectrum_t = (torch.fft.rfft2(e[0, 0] * window * window[:, None]) for e in edges)
    cross = spectrum_s * spectrum_t.conj()
    found = torch.fft.irfft2(cross / (cross.abs() + 1e-6), s=(SIDE, SIDE))
    reach = SIDE // 24
    near = torch.roll(found, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    dy, dx = (int(k) - reach for k in np.unravel_index(int(near.argmax()), near.shape))
    if dy == 0 and dx == 0:
        return t
    moved = _moved(t, dy, dx)
    return moved if _alike(edges[0], _moved(edges[1], dy, dx)) > _alike(edges[0], edges[1]) + 0.02 else t


def _moved(x: Tensor, dy: int, dx: int) -> Tensor:
    reach = max(abs(dy), abs(dx))
    padded = F.pad(x, (reach, reach, reach, reach), "replicate")
    return padded[:, :, reach - dy : reach - dy + x.shape[2], reach - dx : reach - dx + x.shape[3]]


def _alike(a: Tensor, b: Tensor) -> float:
    return float((a * b).mean() / (a.square().mean() * b.square().mean()).sqrt().clamp_min(1e-9))
