"""Where the object ends: masks as people hand them over, drawn to the outline that the picture shows.

A mask is grown, feathered, a box, or a little off, and then nothing that is said about its edge is true. This small U-Net
(Ronneberger et al., 2015) looks at the picture and the mask and says of every pixel whether the object is there. It is taught
the masks that objects were really cut with. What meets at the edge is then looked up at the outline; the effect still goes where
the user's mask says.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..pooling import window_mean
from .backbone import ConvNorm
from .layers import zeros

WINDOWS = (5, 13, 29)
"""Sides of the windows whose means tell how far a pixel is from the mask's edge."""
SEEN = 3 + 1 + len(WINDOWS)


class Outline(nn.Module):
    """The U-Net. It starts as nothing: what comes out is the mask that went in.

    Args:
        deep: channels of the features at 1/8 that say what is where.
    """

    def __init__(self, deep: int):
        super().__init__()
        self.halved = ConvNorm(SEEN, 16, 2)
        self.quarter = nn.Sequential(ConvNorm(16, 32, 2), ConvNorm(32, 32))
        self.eighth = ConvNorm(32, 48, 2)
        self.told = nn.Conv2d(deep, 48, 1)
        self.at_eighth = nn.Sequential(ConvNorm(48, 48), ConvNorm(48, 48))
        self.sixteenth = nn.Sequential(ConvNorm(48, 64, 2), ConvNorm(64, 64))
        # How wrong a mask is, is mostly the same all around: what is seen along the whole edge is told to every place.
        self.everywhere = nn.Sequential(nn.Linear(2 * 64, 64), nn.ReLU(inplace=True), nn.Linear(64, 64))
        self.to_eighth, self.to_quarter, self.to_half = nn.Conv2d(64, 48, 1), nn.Conv2d(48, 32, 1), nn.Conv2d(32, 16, 1)
        self.mend_eighth, self.mend_quarter, self.mend_half = ConvNorm(48, 48), ConvNorm(32, 32), ConvNorm(16, 16)
        self.answer = zeros(nn.Conv2d(16, 4, 3, 1, 1))

    def forward(self, rgb: Tensor, mask: Tensor, deep: Tensor) -> Tensor:
        """Logits that a pixel is the object's, `(B, 1, S, S)`, float32.

        Args:
            rgb: `(B, 3, S, S)` in [0, 1], S divisible by 32.
            mask: `(B, 1, S, S)` in [0, 1], as `shown_mask` gives it.
            deep: `(B, C, S/8, S/8)`, features of the picture.
        """
        around = [window_mean(mask, side) for side in WINDOWS]
        half = self.halved(torch.cat([rgb - 0.5, mask - 0.5, *(x - 0.5 for x in around)], 1))
        quarter = self.quarter(half)
        eighth = self.at_eighth(torch.relu(self.eighth(quarter) + self.told(deep)))
        sixteenth = self.sixteenth(eighth)
        edge = window_mean(around[1] * (1 - around[1]), 16, 16).to(sixteenth.dtype) + 1e-4
        along = (sixteenth * edge).sum((2, 3)) / edge.sum((2, 3))
        whole = self.everywhere(torch.cat([along, sixteenth.mean((2, 3))], 1))
        up = _twice(self.to_eighth(torch.relu(sixteenth + whole[:, :, None, None])))
        eighth = self.mend_eighth(eighth + up)
        quarter = self.mend_quarter(quarter + _twice(self.to_quarter(eighth)))
        half = self.mend_half(half + _twice(self.to_half(quarter)))
        change = F.pixel_shuffle(self.answer(half), 2)
        return change.float() * 4 + torch.logit(mask.float(), 0.02)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def outlined(logits: Tensor, mask: Tensor) -> Tensor:
    """The outline as a mask, `(B, 1, S, S)` in [0, 1]; the mask itself where nothing of it would be left.

    Args:
        logits: as `Outline` gives them.
        mask: what was shown, `(B, 1, S, S)`.
    """
    found = ((torch.sigmoid(logits.float()) - 0.3) / 0.4).clamp(0, 1)
    enough = found.sum((2, 3), keepdim=True) > 0.05 * mask.sum((2, 3), keepdim=True)
    return torch.where(enough, found, mask)


def outline_loss(logits: Tensor, cut: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy against what the object was cut with, mostly near its edge and near the mask's. Scalar.

    Args:
        logits: `(B, 1, S, S)`.
        cut, mask: `(B, 1, S, S)` in [0, 1].
    """
    wide = window_mean(torch.cat([cut, mask], 1), 9)
    near = (4 * wide * (1 - wide)).amax(1, keepdim=True) + (cut - mask).abs()
    weight = near + 0.02
    error = F.binary_cross_entropy_with_logits(logits, cut, reduction="none")
    return ((error * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))).mean()
