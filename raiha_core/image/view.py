"""What models are shown of a picture: sRGB, and nothing of the colours that lie under full transparency."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..parallel import by_rows
from .crop import Box, shrink
from .masks import Mask
from .picture import Picture

_CONVERTED = 2**22
"""Pixels of which a view is computed; larger boxes are averaged over blocks before that."""
_LEAST_VISIBLE = 0.02
"""An alpha that leaves less than this of the object or of its background is a mask and no transparency."""


def view(picture: Picture, box: Box, size: int, mask: Mask | None = None) -> Tensor:
    """A box of a picture, squashed to a square by area averaging, `(1, 3, size, size)` float32 sRGB, white at 1.

    Args:
        mask: the foreground in a composite, fitted; says whether alpha is transparency or marks the object.
    """
    alpha = picture.alpha if picture.alpha is not None and _hides(picture.alpha, box, mask) else None
    if picture.space is None and alpha is None:
        return shrink(picture.rgb, box, size, picture.scale)
    colours = _blocks(picture, box, alpha)
    rgb, share = colours[:, :3] / colours[:, 3:].clamp_min(1e-6), colours[:, 3:]
    if picture.space is not None:
        rgb = picture.space.to_srgb(rgb)
    small = _squashed(torch.cat([rgb * share, share], 1), size)
    return fill_hidden(small[:, :3] / small[:, 3:].clamp_min(1e-6), small[:, 3:])


_SOFT = 0.04
"""Share of a mask that lies on its slopes where it is merely antialiased."""


def view_mask(mask: Mask, box: Box, size: int) -> Tensor:
    """A box of a mask as a model is shown it, `(1, 1, size, size)` float32, at least one pixel of it white.

    Models learn from masks with narrow edges. A wide feather is made steep for them, so that they see an object and no haze;
    the full-size mask goes on to say how strongly the change is blended in. A foreground thinner than a pixel of the small
    picture is made as strong as it can be seen.
    """
    region = mask[box.top : box.bottom, box.left : box.right]
    # Row by row: summed in 64 bits, a large mask takes three times as long.
    sums = by_rows(lambda m: np.stack([m.sum(1), np.einsum("ij,ij->i", m, m)], 1), region).sum(0, dtype=np.float64)
    soft = softness(float(sums[0]), float(sums[1]))
    if soft is not None:
        steep = steepened(region, soft)
        if steep.any():
            region = steep
    return seen_mask(region, size)


def softness(total: float, squares: float) -> float | None:
    """How wide the slopes of a mask are, by the sums of its values and of their squares; None where it is merely antialiased."""
    soft = 1 - squares / total if total else 0.0
    return soft if soft > _SOFT else None


def steepened(mask: Mask, soft: float) -> Mask:
    """A mask with slopes of this softness made as narrow as an antialiased edge's."""
    steep: Mask = np.clip((mask - 0.5) * np.float32(soft / _SOFT) + 0.5, 0, 1)
    return steep


def seen_mask(region: Any, size: int) -> Tensor:
    """A region of a mask, squashed; one thinner than a pixel is made as strong as it can be seen."""
    small = shrink(region, Box(0, 0, *region.shape[:2]), size).clamp(0, 1)
    return small / small.max() if 0 < float(small.max()) < 0.5 else small


def full_view(picture: Picture, mask: Mask) -> Tensor:
    """A whole composite at its own size as `(1, 3, H, W)` float32 sRGB, its hidden colours filled from what is visible."""
    rgb = picture.rgb_tensor()
    height, width = picture.size
    if picture.alpha is None or not _hides(picture.alpha, Box(0, 0, height, width), mask):
        return rgb
    share = torch.from_numpy(np.ascontiguousarray(picture.alpha, np.float32))[None, None] / picture.scale
    return fill_hidden(rgb, (share > 0).float())


def _hides(alpha: NDArray[Any], box: Box, mask: Mask | None) -> bool:
    """Whether alpha is transparency that hides something, and not a mask kept with its picture."""
    if not alpha[box.top : box.bottom, box.left : box.right].min() <= 0:
        return False
    if mask is None:
        return True
    seen, inside = np.zeros(2), np.zeros(2)
    for row in range(box.top, box.bottom):
        cover, weight = alpha[row, box.left : box.right].astype(np.float64), mask[row, box.left : box.right].astype(np.float64)
        seen += (cover @ weight, cover @ (1 - weight))
        inside += (weight.sum(), (1 - weight).sum())
    return bool((seen / np.maximum(inside, 1e-6) > _LEAST_VISIBLE * float(alpha.max() or 1)).all())


def _blocks(picture: Picture, box: Box, alpha: NDArray[Any] | None) -> Tensor:
    """A box in the picture's own space, `(1, 4, h, w)`: colours times visibility, visibility; averaged over blocks if it is large."""
    k = max(1, int((box.height * box.width / _CONVERTED) ** 0.5))
    strip = max(1, 2**20 // (k * box.width)) * k
    columns = slice(box.left, box.right)
    parts = []
    for row in range(box.top, box.bottom, strip):
        rows = slice(row, min(row + strip, box.bottom))
        own = np.asarray(picture.rgb[rows, columns]).transpose(2, 0, 1)
        rgb = torch.from_numpy(np.ascontiguousarray(own, np.float32))[None] / picture.scale
        share = torch.ones_like(rgb[:, :1])
        if alpha is not None:
            share = torch.from_numpy(np.ascontiguousarray(alpha[rows, columns], np.float32))[None, None] / picture.scale
            rgb = rgb if picture.premultiplied else rgb * share
        part = torch.cat([rgb, share], 1)
        parts.append(F.avg_pool2d(part, k, ceil_mode=True) if k > 1 else part)
    return torch.cat(parts, 2)


def _squashed(planes: Tensor, size: int) -> Tensor:
    ky, kx = (max(1, n // (2 * size)) for n in planes.shape[-2:])
    planes = F.avg_pool2d(planes, (ky, kx), ceil_mode=True) if ky * kx > 1 else planes
    return F.interpolate(planes, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def fill_hidden(rgb: Tensor, share: Tensor) -> Tensor:
    """Colours `(1, 3, h, w)` with those that are not visible continued from what is, coarse to fine.

    Args:
        share: `(1, 1, h, w)` in [0, 1], how much of a pixel is visible.
    """
    levels = [(rgb * share, share)]
    while max(levels[-1][1].shape[-2:]) > 1:
        levels.append(tuple(F.avg_pool2d(p, 2, ceil_mode=True) for p in levels[-1]))  # type: ignore[arg-type]
    filled = torch.full_like(levels[-1][0], 0.5)
    for colours, visible in reversed(levels):
        below = F.interpolate(filled, size=visible.shape[-2:], mode="bilinear", align_corners=False)
        known = (visible * 20).clamp(0, 1)
        filled = torch.lerp(below, colours / visible.clamp_min(1e-6), known)
    return filled
