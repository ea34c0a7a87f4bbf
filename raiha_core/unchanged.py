"""Whether harmonising changed anything that can be seen, and why it did not: the one check after prediction."""

from __future__ import annotations

import numpy as np
import torch

from .image import Box, Mask, Picture, bounding_box
from .models import ColorTransform

VISIBLE = 1.5 / 255
"""Of white: what no sample was moved by is no change. Rounding alone moves a sample by one 8-bit step."""
_STRIP = 2**16
"""Pixels that are compared at a time; most pictures change in the first strip."""
_THIN = 4.0
"""Pixels of the model's picture that a foreground must cover to be looked at for what it is."""
_GRID = 64
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


def why_unchanged(picture: Picture, mask: Mask, box: Box, size: int, transform: ColorTransform, strength: float) -> str:
    """One sentence for a result that is its input.

    Args:
        picture: the composite.
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
    elif _leaves_alone(transform, picture, mask, box):
        why = "to the model the object fits its scene already; if it does not, check that the mask is on the object"
    else:
        why = "the object's samples are black, or beyond white, where nothing can move them"
    return f"Nothing was changed that could be seen: {why}."


def _leaves_alone(transform: ColorTransform, picture: Picture, mask: Mask, box: Box) -> bool:
    """Whether the model asks for no change of these colours that can be seen; looks at a grid of pixels of the object."""
    inner = bounding_box(mask)
    rows, columns = (np.unique(np.linspace(a, b - 1, _GRID).astype(int)) for a, b in ((inner.top, inner.bottom), (inner.left, inner.right)))
    own = np.ascontiguousarray(picture.rgb[np.ix_(rows, columns)].transpose(2, 0, 1), np.float32)
    rgb = torch.from_numpy(own)[None] / picture.scale
    rgb = rgb if picture.space is None else picture.space.to_srgb(rgb)
    y, x = (torch.from_numpy(rows) + 0.5 - box.top) / box.height, (torch.from_numpy(columns) + 0.5 - box.left) / box.width
    moved = (transform.to("cpu")(rgb, x.float(), y.float()) - rgb).abs().amax(1)[0]
    inside = torch.from_numpy(mask[np.ix_(rows, columns)] > 0)
    return not bool(inside.any()) or float(moved[inside].max()) < 1.2 * VISIBLE
