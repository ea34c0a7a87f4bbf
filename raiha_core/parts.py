"""Light and colour apart: a change of which only one is wanted."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .image.colour import lab_to_srgb, srgb_to_lab

Part = Literal["both", "brightness", "colour"]


def only(part: Part, before: Tensor, after: Tensor) -> Tensor:
    """A change of colours of which one part is kept: the lightness of CIE Lab, or its two axes of colour.

    Args:
        part: "brightness" leaves hue and chroma as they were, "colour" the lightness.
        before: `(1, 3, h, w)` sRGB.
        after: the same pixels changed.
    """
    if part == "both":
        return after
    old, new = srgb_to_lab(before), srgb_to_lab(after)
    light, colour = (new, old) if part == "brightness" else (old, new)
    return lab_to_srgb(torch.cat([light[:, :1], colour[:, 1:]], 1))
