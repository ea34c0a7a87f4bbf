"""Masks as real segmenters, inpainting brushes and people leave them; batched, `(B, 1, H, W)` in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .edits import Draw


def smooth_noise(like: Tensor, generator: torch.Generator, cells: int) -> Tensor:
    """Low-frequency noise with zero mean and unit spread, `(B, 1, H, W)`."""
    coarse = torch.randn(len(like), 1, cells, cells, generator=generator).to(like)
    x = F.interpolate(coarse, size=like.shape[-2:], mode="bilinear", align_corners=False)
    return (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True).clamp_min(1e-3)


def blobs(like: Tensor, generator: torch.Generator) -> Tensor:
    """Random blobs that cover 5 to 50 % of the picture."""
    noise = smooth_noise(like, generator, 4) + 0.3 * smooth_noise(like, generator, 12)
    share = torch.rand(len(like), generator=generator) * 0.45 + 0.05
    threshold = torch.stack([n.flatten().quantile(1 - s.item()) for n, s in zip(noise, share, strict=True)])
    return torch.sigmoid((noise - threshold[:, None, None, None]) * 40)


def boxes(mask: Tensor, generator: torch.Generator) -> Tensor:
    """The masks' bounding boxes or ellipses with a margin: what a hasty brush or a detector gives."""
    h, w = mask.shape[-2:]
    yy, xx = torch.meshgrid(torch.linspace(0, 1, h), torch.linspace(0, 1, w), indexing="ij")
    xx, yy = xx.to(mask)[None, None], yy.to(mask)[None, None]
    total = mask.sum((2, 3), keepdim=True).clamp_min(1)
    cx, cy = (mask * xx).sum((2, 3), keepdim=True) / total, (mask * yy).sum((2, 3), keepdim=True) / total
    sx = ((mask * (xx - cx) ** 2).sum((2, 3), keepdim=True) / total).sqrt() * 2 + 0.02
    sy = ((mask * (yy - cy) ** 2).sum((2, 3), keepdim=True) / total).sqrt() * 2 + 0.02
    dx, dy = (xx - cx).abs() / sx, (yy - cy).abs() / sy
    ellipse = Draw(generator, mask).chance(0.5)
    distance = ellipse * (dx * dx + dy * dy).sqrt() + (1 - ellipse) * torch.maximum(dx, dy)
    return torch.sigmoid((1 - distance) * 40)


def roughen(mask: Tensor, generator: torch.Generator) -> Tensor:
    """Grow or shrink, soften, wobble the edge, punch holes; most masks stay as they are."""
    out = mask.clone()
    draws = torch.rand(2, len(mask), generator=generator)
    i = (draws[0] < 0.4).nonzero()[:, 0].to(mask.device)
    if len(i):
        x = mask[i]
        draw = Draw(generator, x)
        blurred = F.avg_pool2d(F.avg_pool2d(x, 7, 1, 3), 5, 1, 2)
        wobble = smooth_noise(x, generator, 16) * draw.chance(0.6)
        level = 0.5 - draw.normal(0.18) + 0.12 * wobble
        out[i] = torch.sigmoid((blurred - level) * torch.exp(draw.uniform(1.7, 4.2)))
    i = (draws[1] < 0.05).nonzero()[:, 0].to(mask.device)
    if len(i):
        out[i] *= 1 - torch.sigmoid((smooth_noise(out[i], generator, 10) - 2.0) * 30)
    return out


def vary(mask: Tensor, generator: torch.Generator) -> Tensor:
    """The masks that training sees: mostly the object, roughened; some boxes, some inverted, few blobs."""
    kind = torch.rand(len(mask), generator=generator)
    out = roughen(mask, generator)
    for low, high, make in ((0.0, 0.04, blobs), (0.04, 0.09, boxes)):
        chosen = ((kind >= low) & (kind < high)).to(mask.device)
        if chosen.any():
            out[chosen] = make(out[chosen], generator)
    covered = out.mean((1, 2, 3), keepdim=True)
    flip = (((kind >= 0.09) & (kind < 0.13)).to(mask)[:, None, None, None] > 0) & (covered > 0.3)
    return torch.where(flip, 1 - out, out)
