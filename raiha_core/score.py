"""How well an object fits its scene: by how far, and in which direction, a model would move its colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .harmonizer import Harmonizer
from .image import Mask, Picture, shrink
from .image.colour import srgb_to_lab

_HALVING = 7.0
"""Mean colour difference at which the score is halved; 2.3 is just noticeable (Mahy et al., 1994)."""

_SIDE = 256
"""Pixels of the square on which the change is measured."""

_NOTED = 1.0
"""Steps of CIE Lab below which a mean change is not worth a word."""


@dataclass(frozen=True)
class Harmony:
    """What a model thinks of an object in its scene.

    Attributes:
        distance: mean change of colour that it would make under the mask (CIE 1976 difference); 0: none.
        lightness: mean change of L*, positive: brighter.
        chroma: mean change of chroma, positive: more colourful.
        warmth: mean change of b*, positive: yellower, negative: bluer.
        tint: mean change of a*, positive: redder, negative: greener.
    """

    distance: float
    lightness: float
    chroma: float
    warmth: float
    tint: float

    @property
    def score(self) -> float:
        """100: the object fits as it is; halved by every 7 steps of colour difference."""
        return 100 * math.exp2(-self.distance / _HALVING)

    def text(self) -> str:
        """The score and the change in a sentence, for people."""
        changes = [
            (self.lightness, "brighter", "darker"),
            (self.warmth, "yellower", "bluer"),
            (self.tint, "redder", "greener"),
            (self.chroma, "more colourful", "less colourful"),
        ]
        words = [f"{up if value > 0 else down} by {abs(value):.1f}" for value, up, down in changes if abs(value) >= _NOTED]
        wanted = "would be made " + ", ".join(words) if words else "fits as it is" if self.distance < 2.3 else "would change in places"
        return f"harmony {self.score:.0f} of 100: the object {wanted} (mean colour difference {self.distance:.1f})"


def harmony(harmonizer: Harmonizer, picture: Picture, mask: Mask, references: Sequence[Tensor] = ()) -> Harmony:
    """Score one picture.

    Args:
        harmonizer: whose opinion it is.
        picture: the composite.
        mask: `(H, W)` in [0, 1], fitted by `fit_mask`.
        references: as `prepare_references` gives them.
    """
    placed, _ = harmonizer.predict(picture, mask, references)
    before = shrink(picture.rgb, placed.box, _SIDE).clamp(0, 1).to(harmonizer.device)
    weight = shrink(mask, placed.box, _SIDE).clamp(0, 1).to(before)
    at = (torch.arange(_SIDE, device=before.device) + 0.5) / _SIDE
    after = placed.transform(before, at, at).clamp(0, 1)
    old, new = srgb_to_lab(before), srgb_to_lab(after)
    change = torch.cat([(new - old).square().sum(1, keepdim=True).sqrt(), new - old, _chroma(new) - _chroma(old)], 1)
    distance, lightness, tint, warmth, chroma = ((change * weight).sum((0, 2, 3)) / weight.sum()).tolist()
    return Harmony(distance, lightness, chroma, warmth, tint)


def _chroma(lab: Tensor) -> Tensor:
    return lab[:, 1:].square().sum(1, keepdim=True).sqrt()
