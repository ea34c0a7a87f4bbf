"""Masks as real segmenters, inpainting brushes and people leave them; batched, `(B, 1, H, W)` in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..models.pooling import window_mean
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
        blurred = window_mean(window_mean(x, 7), 5)
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


def grown(mask: Tensor, radius: Tensor, diamond: Tensor | None = None) -> Tensor:
    """Masks grown by a number of pixels each, or shrunk where it is negative.

    Args:
        mask: `(B, 1, H, W)`.
        radius: `(B,)` integers.
        diamond: `(B,)` bool, those that grow by single pixels, again and again; the others grow by squares.
    """
    out = mask.clone()
    if diamond is not None:
        out[diamond] = _grown_by_diamonds(mask[diamond], radius[diamond])
        out[~diamond] = grown(mask[~diamond], radius[~diamond])
        return out
    for r in radius.unique().tolist():
        i = (radius == r).nonzero()[:, 0].to(mask.device)
        size = 2 * abs(r) + 1
        if r > 0:
            out[i] = F.max_pool2d(F.max_pool2d(mask[i], (1, size), 1, (0, r)), (size, 1), 1, (r, 0))
        elif r < 0:
            out[i] = -F.max_pool2d(F.max_pool2d(-mask[i], (1, size), 1, (0, -r)), (size, 1), 1, (-r, 0))
    return out


def _grown_by_diamonds(mask: Tensor, radius: Tensor) -> Tensor:
    sign = torch.where(radius < 0, -1.0, 1.0).to(mask)[:, None, None, None]
    out = mask * sign
    for step in range(int(radius.abs().max()) if len(radius) else 0):
        more = (radius.abs() > step).to(mask.device)
        x = out[more]
        out[more] = torch.maximum(F.max_pool2d(x, (1, 3), 1, (0, 1)), F.max_pool2d(x, (3, 1), 1, (1, 0)))
    return out * sign


def feathered(mask: Tensor, radius: Tensor) -> Tensor:
    """Masks blurred by a triangle of a radius each, `(B,)` in pixels, 0 for none; at the border what there is counts."""
    places = torch.arange(mask.shape[-1], device=mask.device, dtype=mask.dtype)
    distance = (places[None] - places[:, None]).abs()
    reach = radius.to(mask.device, mask.dtype)[:, None, None] + 1
    blur = (1 - distance / reach).clamp_min(0)
    blur = (blur / blur.sum(2, keepdim=True))[:, None]  # (B, 1, S, S)
    return blur @ mask @ blur.mT


def handed_over(cut: Tensor, generator: torch.Generator, loose: float = 0.67) -> Tensor:
    """The masks that people hand over for objects that were cut with others: most are not exact.

    Args:
        cut: `(B, 1, S, S)`, the masks that the objects were cut out with.
        loose: share that is not exact: grown or shrunk by up to 6 % of the side, feathered, a box or an ellipse, with holes.
    """
    side, count = cut.shape[-1], len(cut)
    draws = torch.rand(7, count, generator=generator)
    inexact = draws[0] < loose
    # Twice as often too wide than too narrow: a brush leaves nothing of the object out.
    reach = 0.06 * side * draws[2].square()
    radius = torch.where(draws[1] < 0.5, reach, torch.where(draws[1] < 0.75, -0.6 * reach, torch.zeros_like(reach))).round().long()
    area = cut.mean((1, 2, 3)).cpu()
    # What is thin must not vanish.
    radius = torch.maximum(radius, -(area.sqrt() * side * 0.08).long())
    out = grown(cut, radius * inexact, draws[6] < 0.5)
    soft = (draws[3] < 0.5) * (0.2 + 0.8 * draws[4]) * 0.06 * side
    boxed = (inexact & (draws[5] < 0.08)).nonzero()[:, 0].to(cut.device)
    if len(boxed):
        out[boxed] = boxes(cut[boxed], generator)
    holed = (inexact & (draws[5] > 0.95)).nonzero()[:, 0].to(cut.device)
    if len(holed):
        out[holed] *= 1 - torch.sigmoid((smooth_noise(out[holed], generator, 10) - 1.6) * 30)
    out = feathered(out, soft * inexact)
    # Nothing left, or everything: then the object itself.
    lost = (out.amax((1, 2, 3)) < 0.5) | (out.mean((1, 2, 3)) > 0.97)
    return torch.where(lost[:, None, None, None], cut, out)
