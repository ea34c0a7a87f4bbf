"""A short vector that says what the light of a picture's background is like, and a similarity of two such vectors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .retinex import Retinex, estimate

DESCRIPTOR_ID = "retinex-1"
_SIDE = 96
_GRID = 4
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
DESCRIPTOR_DIM = 1 + len(_QUANTILES) + 6 + 3 + 3 * _GRID * _GRID


def describe(images: Tensor, foreground: Tensor | None = None) -> Tensor:
    """Describe the light of the background.

    Args:
        images: `(B, 3, H, W)` sRGB, nominal range [0, 1]; any size, brought to 96 x 96.
        foreground: `(B, 1, H, W)` in [0, 1], 1 = foreground, which does not count; None counts the whole picture.

    Returns:
        `(B, DESCRIPTOR_DIM)` float32, scaled so that Euclidean distance compares light.
    """
    small = F.interpolate(images.float().clamp(0, 1), (_SIDE, _SIDE), mode="bilinear", antialias=True, align_corners=False)
    background = None
    if foreground is not None:
        covered = F.adaptive_max_pool2d(foreground.float(), _SIDE)
        # A ring around the mask goes too: soft edges and resizing mix the foreground into it.
        background = (F.max_pool2d(covered, 5, 1, 2) < 0.02).float()
        # Hardly any background left: the light of what there is beats no answer.
        scarce = background.mean((1, 2, 3), keepdim=True) < 0.01
        background = torch.where(scarce, (1 - covered).clamp_min(1e-3), background)
    return _assemble(estimate(small, background))


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """Similarity of light in [0, 1], 1 for the same: `exp(-d / s)` with d the Euclidean distance of the descriptors.

    Args:
        a, b: `(..., DESCRIPTOR_DIM)`, broadcast against each other.

    Returns:
        `(...)` float32.
    """
    return torch.exp(-(a - b).norm(dim=-1) / _FALLOFF)


_FALLOFF = 4.0


def _assemble(light: Retinex) -> Tensor:
    w = light.weight
    total = w.sum((2, 3)).clamp_min(1e-6)

    def mean(x: Tensor) -> Tensor:
        return (x * w).sum((2, 3)) / total

    brightness, color = light.brightness, light.color
    chroma = torch.cat([color[:, :1] - color[:, 1:2], color[:, 2:] - color[:, 1:2]], 1)
    level = mean(brightness)
    shade = (brightness - level[..., None, None]).pow(2)
    picture = brightness + light.reflectance
    quantiles = _quantiles(picture, w)
    bright = w * (picture >= quantiles[:, -2:-1, None, None])
    dark = w * (picture <= quantiles[:, 1:2, None, None])
    bright_chroma = (chroma * bright).sum((2, 3)) / bright.sum((2, 3)).clamp_min(1e-6)
    dark_chroma = (chroma * dark).sum((2, 3)) / dark.sum((2, 3)).clamp_min(1e-6)
    mean_chroma = mean(chroma)
    contrast = torch.cat([mean(shade).sqrt(), mean(light.reflectance.pow(2)).sqrt(), mean(color.amin(1, keepdim=True)).neg()], 1)
    pooled = F.adaptive_avg_pool2d(torch.cat([brightness - level[..., None, None], chroma - mean_chroma[..., None, None]], 1), _GRID)
    return torch.cat(
        [
            level,
            0.5 * quantiles,
            2 * mean_chroma,
            bright_chroma,
            dark_chroma,
            contrast,
            0.2 * pooled.flatten(1),
        ],
        1,
    )


def _quantiles(x: Tensor, w: Tensor) -> Tensor:
    """Weighted quantiles of one-channel maps, `(B, len(_QUANTILES))`."""
    values, order = x.flatten(1).sort(1)
    cumulative = w.flatten(1).gather(1, order).cumsum(1)
    at = torch.tensor(_QUANTILES, device=x.device) * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, at.contiguous()).clamp_max(values.shape[1] - 1)
    return values.gather(1, index)
