"""Where the object ends: masks as people hand them over, drawn to the outline that the picture shows.

A mask is grown, feathered, a box, or a little off, and then nothing that is said about its edge is true. Two things mend it.
Masks are mostly wrong by the same distance all around: colours are compared across the contours at every distance from the
mask's edge, and the likeliest contour is chosen. Then a small U-Net (Ronneberger et al., 2015) mends it place by place. Both are
taught the masks that objects were really cut with. What meets at the edge is then looked up at the outline; the effect still
goes where the user's mask says.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..pooling import window_mean
from .backbone import ConvNorm
from .layers import zeros

REACH = 16
"""Pixels from the mask's edge that contours are looked for, inwards and outwards."""
CONTOURS = 2 * REACH + 1
METRICS = 2
"""Ways to grow a mask: by squares, and by diamonds, as repeated growth by single pixels does."""
STEP = 5
"""Length of what is said of one contour: signed and absolute steps of colour across it, and how much of it there is."""
SEEN = 3 + 1 + 2 + 3


class Found(NamedTuple):
    """What is found of B outlines.

    Attributes:
        logits: `(B, 1, S, S)`, that a pixel is the object's.
        contour: `(B, METRICS, CONTOURS)`, logits of the contour that is nearest to the outline.
        distance: `(B, METRICS, S, S)`, see `signed_distance`.
    """

    logits: Tensor
    contour: Tensor
    distance: Tensor


class Outline(nn.Module):
    """See the module. It starts as nothing: what comes out is the mask that went in.

    Args:
        deep: channels of the features at 1/8 that say what is where.
    """

    def __init__(self, deep: int):
        super().__init__()
        self.contour = nn.Sequential(nn.Conv1d(METRICS * STEP, 48, 5, 1, 2), nn.ReLU(inplace=True), nn.Conv1d(48, 48, 5, 1, 2))
        self.offset = nn.Sequential(
            nn.ReLU(inplace=True), nn.Conv1d(2 * 48, 48, 5, 1, 2), nn.ReLU(inplace=True), zeros(nn.Conv1d(48, METRICS, 5, 1, 2))
        )
        self.usual = nn.Parameter(-0.05 * torch.arange(-REACH, REACH + 1).abs() + 6.0 * (torch.arange(CONTOURS) == REACH))
        self.halved = ConvNorm(SEEN, 16, 2)
        self.quarter = ConvNorm(16, 32, 2)
        self.eighth = ConvNorm(32, 48, 2)
        self.told = nn.Conv2d(deep, 48, 1)
        self.at_eighth = ConvNorm(48, 48)
        self.sixteenth = nn.Sequential(ConvNorm(48, 64, 2), ConvNorm(64, 64))
        self.to_eighth, self.to_quarter, self.to_half = nn.Conv2d(64, 48, 1), nn.Conv2d(48, 32, 1), nn.Conv2d(32, 16, 1)
        self.mend_eighth, self.mend_quarter, self.mend_half = ConvNorm(48, 48), ConvNorm(32, 32), ConvNorm(16, 16)
        self.answer = zeros(nn.Conv2d(16, 4, 3, 1, 1))

    def forward(self, rgb: Tensor, mask: Tensor, deep: Tensor) -> Found:
        """Look for outlines; the answer is float32.

        Args:
            rgb: `(B, 3, S, S)` in [0, 1], S divisible by 32.
            mask: `(B, 1, S, S)` in [0, 1], as `shown_mask` gives it.
            deep: `(B, C, S/8, S/8)`, features of the picture.
        """
        with torch.no_grad(), torch.autocast(rgb.device.type, enabled=False):
            distance = signed_distance(mask)
            step = across(rgb, distance)
            profile = profiles(step, distance)
        contour = self._choose(profile)
        probable = _inside(contour.detach().flatten(1).softmax(1).reshape(contour.shape), distance)
        known = torch.cat([rgb - 0.5, probable - 0.5, distance / REACH, step.clamp(-0.5, 0.5) * 4], 1)
        half = self.halved(known)
        quarter = self.quarter(half)
        eighth = self.at_eighth(torch.relu(self.eighth(quarter) + self.told(deep)))
        eighth = self.mend_eighth(eighth + _twice(self.to_eighth(self.sixteenth(eighth))))
        quarter = self.mend_quarter(quarter + _twice(self.to_quarter(eighth)))
        half = self.mend_half(half + _twice(self.to_half(quarter)))
        change = F.pixel_shuffle(self.answer(half), 2)
        return Found(change.float() * 4 + torch.logit(probable, 0.01), contour, distance)

    def _choose(self, profile: Tensor) -> Tensor:
        """Logits of the contours, `(B, METRICS, CONTOURS)`."""
        said = self.contour(profile)
        said = torch.cat([said, said.mean(2, keepdim=True).expand_as(said)], 1)
        logits: Tensor = self.offset(said).float() + self.usual
        return logits


def signed_distance(mask: Tensor) -> Tensor:
    """Pixels from the mask's edge, positive outside, by squares and by diamonds: `(B, METRICS, S, S)` in [-REACH, REACH].

    The mask's outermost pixels have 0, the first outside 1.
    """
    inside = mask > 0.5
    both = torch.cat([inside, ~inside], 1)  # how far it is to the mask, how far out of it
    along = (~both).to(torch.int16) * (REACH + 1)
    for reach in (1, 2, 4, 8, 1):  # doubling: the nearest within 16 pixels of the row
        nearer = along.clone()
        nearer[..., reach:] = torch.minimum(nearer[..., reach:], along[..., :-reach] + reach)
        nearer[..., :-reach] = torch.minimum(nearer[..., :-reach], along[..., reach:] + reach)
        along = nearer
    square, diamond = along.clone(), along.clone()
    for k in range(1, REACH + 1):
        for here, there in ((slice(k, None), slice(None, -k)), (slice(None, -k), slice(k, None))):
            square[..., here, :] = torch.minimum(square[..., here, :], along[..., there, :].clamp_min(k))
            diamond[..., here, :] = torch.minimum(diamond[..., here, :], along[..., there, :] + k)
    apart = torch.stack([square, diamond], 1)  # (B, METRICS, 2, S, S)
    return torch.where(inside, 1 - apart[:, :, 1], apart[:, :, 0]).clamp(-REACH, REACH).to(mask.dtype)


def across(rgb: Tensor, distance: Tensor) -> Tensor:
    """Steps of colour over two pixels, outwards: `(B, 3, S, S)`."""
    outwards = distance.mean(1, keepdim=True)
    steps = torch.zeros_like(rgb)
    for x, y, part in (
        (rgb[..., 2:] - rgb[..., :-2], outwards[..., 2:] - outwards[..., :-2], steps[..., 1:-1]),
        (rgb[..., 2:, :] - rgb[..., :-2, :], outwards[..., 2:, :] - outwards[..., :-2, :], steps[..., 1:-1, :]),
    ):
        part += x * (y / 2).clamp(-1, 1)
    return steps


def profiles(step: Tensor, distance: Tensor) -> Tensor:
    """What is seen across the contours at each distance: `(B, METRICS * STEP, CONTOURS)`."""
    b = len(step)
    size = step.abs().mean(1, keepdim=True)
    said = torch.cat([step, size, torch.ones_like(size)], 1).flatten(2)  # (B, STEP, N)
    index = (distance.round().long() + REACH).flatten(2)  # (B, METRICS, N)
    out = said.new_zeros(b, METRICS, STEP, CONTOURS)
    for metric in range(METRICS):
        out[:, metric].scatter_add_(2, index[:, metric, None].expand(-1, STEP, -1), said)
    count = out[:, :, -1:]
    mean = out[:, :, :-1] / count.clamp_min(1) * 8
    share = count / count[..., REACH : REACH + 1].clamp_min(1) / 2
    share[..., [0, -1]] = 0  # all that lies beyond
    return torch.cat([mean[:, :, :3].abs(), mean[:, :, 3:], share.clamp_max(2)], 2).flatten(1, 2)


def _inside(chosen: Tensor, distance: Tensor) -> Tensor:
    """How likely pixels lie within the chosen contour, `(B, 1, S, S)`: within those that are at least as far out."""
    within = chosen.flip(2).cumsum(2).flip(2)  # (B, METRICS, CONTOURS)
    index = (distance.round().long() + REACH).flatten(2)
    return within.gather(2, index).sum(1).reshape(len(chosen), 1, *distance.shape[-2:]).clamp(0, 1)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def outlined(logits: Tensor, mask: Tensor) -> Tensor:
    """The outline as a mask, `(B, 1, S, S)` in [0, 1]; the mask itself where nothing of it would be left.

    Args:
        logits: of `Found`.
        mask: what was shown, `(B, 1, S, S)`.
    """
    found = ((torch.sigmoid(logits.float()) - 0.3) / 0.4).clamp(0, 1)
    enough = found.sum((2, 3), keepdim=True) > 0.05 * mask.sum((2, 3), keepdim=True)
    return torch.where(enough, found, mask)


def nearest_contour(distance: Tensor, cut: Tensor) -> Tensor:
    """How near each contour is to what the object was cut with, as shares that sum to 1: `(B, METRICS, CONTOURS)`.

    Args:
        distance: `(B, METRICS, S, S)`, see `signed_distance`.
        cut: `(B, 1, S, S)` in [0, 1].
    """
    index = (distance.round().long() + REACH).flatten(2)
    held = torch.zeros(*index.shape[:2], CONTOURS, device=cut.device).scatter_add_(2, index, cut.flatten(2).expand_as(index).float())
    count = torch.zeros_like(held).scatter_add_(2, index, torch.ones_like(index, dtype=held.dtype))
    wrong = (count - held).cumsum(2) + held.sum(2, keepdim=True) - held.cumsum(2)  # taken in, and left out
    around = count[..., REACH : REACH + 1].clamp_min(16)
    return (-4 * wrong / around).flatten(1).softmax(1).reshape(wrong.shape)


def outline_loss(found: Found, cut: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy against what the object was cut with, mostly near its edge and near the mask's, and of the contour. Scalar.

    Args:
        found: what `Outline` gave.
        cut, mask: `(B, 1, S, S)` in [0, 1].
    """
    wide = window_mean(torch.cat([cut, mask], 1), 7)
    near = (4 * wide * (1 - wide)).amax(1, keepdim=True) + (cut - mask).abs()
    weight = near + 0.03
    error = F.binary_cross_entropy_with_logits(found.logits, cut, reduction="none")
    places = ((error * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))).mean()
    return places + 0.2 * F.cross_entropy(found.contour.flatten(1), nearest_contour(found.distance, cut).flatten(1))
