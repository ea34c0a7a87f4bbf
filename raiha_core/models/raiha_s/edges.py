"""Evidence from both sides of the mask's edge: what is one surface there should have one colour."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..pooling import window_mean
from .backbone import STRIDE
from .colour_statistics import fit_affine, histogram, signed_root, votes


class Edge(NamedTuple):
    """Colours on both sides of the mask's edge, per token: `inner`, `outer` `(B, 3, h, w)`, `weight` `(B, 1, h, w)` in [0, 1]."""

    inner: Tensor
    outer: Tensor
    weight: Tensor

    @property
    def step(self) -> Tensor:
        """From inside to outside, weighted, `(B, 3, h, w)`."""
        return (self.outer - self.inner) * self.weight


def edge_colours(rgb: Tensor, mask: Tensor) -> Edge:
    """Mean colours of the rings just inside and just outside the mask, over windows of three tokens.

    What is one surface on both sides must have one colour there: the cue that Poisson blending lives on.
    """
    wide = window_mean(mask, 7)
    rings = torch.cat([mask * (1 - wide), (1 - mask) * wide], 1)
    sums = window_mean(torch.cat([rgb * rings[:, :1], rgb * rings[:, 1:], rings], 1), 3 * STRIDE, STRIDE, inside=False)
    inner, outer, share_in, share_out = sums.split([3, 3, 1, 1], 1)
    return Edge(inner / (share_in + 1e-4), outer / (share_out + 1e-4), (30 * torch.minimum(share_in, share_out)).clamp(0, 1))


def spread_inside(edge: Edge) -> Tensor:
    """Carry the steps at the edge into the foreground, `(B, 4, h, w)`: step by distance-weighted filling, and how sure it is.

    Pull and push over a pyramid (Gortler et al., "The Lumigraph", 1996): what Poisson blending would add, roughly.
    """
    value, weight = edge.step, edge.weight
    levels = [(value, weight)]
    while min(value.shape[-2:]) % 2 == 0:
        value, weight = F.avg_pool2d(value, 2), F.avg_pool2d(weight, 2)
        levels.append((value, weight))
    filled = value.mean((2, 3), keepdim=True) / (weight.mean((2, 3), keepdim=True) + 1e-4)
    for value, weight in reversed(levels):
        from_above = F.interpolate(filled, size=value.shape[-2:], mode="bilinear", align_corners=False)
        filled = (value + 0.03 * from_above) / (weight + 0.03)
    return torch.cat([filled, edge.weight], 1)


STEP_BINS = 16
STEPS = 3 * STEP_BINS
"""Length of what `step_histogram` returns."""


def step_histogram(rgb: Tensor, mask: Tensor) -> Tensor:
    """How often which step of colour occurs along the edge: `(B, STEPS)`, brightness and two chroma channels.

    Different things meet in all kinds of steps, one surface that the mask cuts through always in the same: the mode tells
    whether, and how, the foreground was changed. Windows of 8 px; square-root bins, so that small steps are told apart.
    """
    wide = window_mean(mask, 5)
    inner, outer = mask * (1 - wide), (1 - mask) * wide
    sums = window_mean(torch.cat([rgb * inner, inner, rgb * outer, outer], 1), 8, 4, inside=False)
    share_in, share_out = sums[:, 3:4], sums[:, 7:8]
    step = (sums[:, 4:7] / (share_out + 1e-4) - sums[:, :3] / (share_in + 1e-4)).flatten(2)
    weight = torch.minimum(share_in, share_out).flatten(1)
    weight = weight / (weight.sum(1, keepdim=True) + 1e-4)
    r, g, b = step.unbind(1)
    rows = []
    for value in ((r + g + b) / 3, r - g, (r + g) / 2 - b):
        at = votes((signed_root(value).clamp(-0.9, 0.9) / 1.8 + 0.5) * (STEP_BINS - 1), STEP_BINS)
        rows.append(histogram(at, weight, STEP_BINS))
    return (torch.cat(rows, 1) + 1e-5).sqrt()


EDGE = 3 + 3 + 1 + 12 + 12
"""Length of what `edge_evidence` says about a whole edge."""


def edge_evidence(edge: Edge, ridge: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Moments and two colour fits across the edge, `(B, EDGE)`, and the fit over places that look alike: A and shift."""
    inner, outer, weight = (x.flatten(2) for x in edge)
    difference = outer - inner
    total = weight.sum(2).clamp_min(1e-4)
    eye = torch.eye(3, device=inner.device)
    a_all, d_all = fit_affine(inner, outer, weight, ridge)
    alike = weight * (-(difference.square().sum(1, keepdim=True)) / 0.15**2).exp() + 1e-4 * weight
    a_alike, d_alike = fit_affine(inner, outer, alike, ridge)
    parts = [(difference * weight).sum(2) / total * 2, (difference.abs() * weight).sum(2) / total * 2, weight.mean(2)]
    for a, d in ((a_all, d_all), (a_alike, d_alike)):
        parts += [(a - eye).flatten(1).clamp(-2, 2), d * 2]
    return torch.cat(parts, 1), a_all, d_all
