"""Whether harmonising changed anything that can be seen, and why it did not: the one check after prediction."""

from __future__ import annotations

import numpy as np
import torch

from .image import Box, Mask, Picture
from .models import ColorTransform

VISIBLE = 1.5 / 255
"""Of white: what no sample was moved by is no change. Rounding alone moves a sample by one 8-bit step."""
_STRIP = 2**20
_THIN = 4.0
"""Pixels of the model's picture that a foreground must cover to be looked at for what it is."""
_FAINT = 0.15
"""Masks that are nowhere much stronger than this on average let no change through."""


def visibly_changed(before: Picture, after: Picture, mask: Mask) -> bool:
    """Whether any sample under the mask moved by more than rounding does; stops at the first that did."""
    step, least = max(1, _STRIP // mask.shape[1]), VISIBLE * before.scale
    for row in range(0, mask.shape[0], step):
        inside = mask[row : row + step] > 0
        if inside.any():
            old, new = (p.rgb[row : row + step][inside].astype(np.float32) for p in (before, after))
            if bool((np.abs(new - old) > least).any()):
                return True
    return False


def why_unchanged(mask: Mask, box: Box, size: int, transform: ColorTransform, strength: float) -> str:
    """One sentence for a result that is its input.

    Args:
        mask: fitted, `(H, W)`.
        box: what the model looked at.
        size: side of the picture that it saw, in pixels.
        transform: its answer.
    """
    inside = mask[mask > 0]
    covered = float(inside.sum()) / (box.height * box.width) * size * size
    if strength < 0.1:
        why = f"the strength is {strength:g}"
    elif covered < _THIN:
        why = f"the foreground covers less than {_THIN:.0f} pixels of the {size} x {size} picture that the model sees; check the mask"
    elif float(inside.mean()) < _FAINT:
        why = f"the mask is faint nearly everywhere, {inside.mean():.0%} of white on average; make the object white"
    elif _identity(transform):
        why = "to the model the object fits its scene already; if it does not, check that the mask is on the object"
    else:
        why = "the object's samples are black, or beyond white, where nothing can move them"
    return f"Nothing was changed that could be seen: {why}."


def _identity(transform: ColorTransform) -> bool:
    level, at = torch.tensor([0.1, 0.5, 0.9]), (torch.arange(8) + 0.5) / 8
    colours = torch.cartesian_prod(level, level, level)[:, :, None, None].expand(-1, 3, 8, 8)
    here = transform.to("cpu")
    return all(float((here(c[None], at, at) - c).abs().max()) < VISIBLE for c in colours)
