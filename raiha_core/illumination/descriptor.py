"""A vector that says what the light of a picture's background is like, and a similarity of two such vectors.

Let `L` be the Retinex illumination of the background (see `retinex`), in sRGB values, and `V` its brightness
`max(L_r, L_g, L_b)`. The descriptor joins, scaled so that plain squared Euclidean distance compares them:

* **light**: the joint distribution of `(V, L_r - L_g, L_b - L_g)` over the background in 10 x 5 x 5 overlapping
  (linear) bins: brightness and colour of the light, and how both vary together;
* **contrast**: the distribution of the picture's own max-RGB in 16 such bins: how deep shadows go, how bright
  highlights are, what is clipped;
* **layout**: mean brightness (in f-stops) and colour of `L` in a 3 x 3 grid, faintly.

Distributions enter as square roots, so their squared distance is twice the squared Hellinger distance (Hellinger
1909; used for colour histograms by Comaniciu, Ramesh, Meer 2000): two parts of one scene show different things, but
much the same range of light, which distributions keep and means lose. Chosen by measurement, see docs/retrieval.md.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..image.colour import linear_to_srgb
from .retinex import Retinex, estimate

DESCRIPTOR_ID = "retinex-1"
_SIDE = 64
_BRIGHT, _CHROMA, _CONTRAST, _GRID = 10, 5, 16, 3
DESCRIPTOR_DIM = _BRIGHT * _CHROMA * _CHROMA + _CONTRAST + 3 * _GRID * _GRID
# Shares of the squared distance.
_LIGHT_SHARE, _CONTRAST_SHARE, _LAYOUT_SHARE = 0.75, 0.25, 0.002
# Differences of sRGB values beyond this are counted in the outermost bin.
_CHROMA_RANGE = 0.42


def describe(images: Tensor, foreground: Tensor | None = None) -> Tensor:
    """Describe the light of the background.

    Args:
        images: `(B, 3, H, W)` sRGB, nominal range [0, 1]; any size, brought to 64 x 64.
        foreground: `(B, 1, H, W)` in [0, 1], 1 = foreground, which does not count; None counts the whole picture.

    Returns:
        `(B, DESCRIPTOR_DIM)` float32; see the module for what it holds.
    """
    images = images.float().clamp(0, 1)
    background = None
    if foreground is not None:
        covered = F.adaptive_max_pool2d(foreground.float(), _SIDE)
        # A ring around the mask goes too: soft edges and resizing mix the foreground into it.
        background = (F.max_pool2d(covered, 5, 1, 2) < 0.02).float()
        # Hardly any background left: the light of what there is beats no answer.
        scarce = background.mean((1, 2, 3), keepdim=True) < 0.01
        background = torch.where(scarce, (1 - covered).clamp_min(1e-3), background)
    small = F.interpolate(images, (_SIDE, _SIDE), mode="bilinear", antialias=True, align_corners=False)
    return _assemble(small, estimate(small, background))


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """Similarity of light in (0, 1], 1 for the same: `exp(-d^2)`, d the Euclidean distance of the descriptors.

    Args:
        a, b: `(..., DESCRIPTOR_DIM)`, broadcast against each other.

    Returns:
        `(...)` float32.
    """
    return torch.exp(-(a - b).square().sum(-1))


def _assemble(images: Tensor, light: Retinex) -> Tensor:
    weight = light.weight
    color = linear_to_srgb(light.illumination().clamp(0, 1))
    red, green, blue = (color[:, i : i + 1] for i in range(3))
    chroma = [((c - green) / (2 * _CHROMA_RANGE) + 0.5) for c in (red, blue)]
    joint = torch.einsum(
        "bihw,bjhw,bkhw->bijk", _soft_bins(color.amax(1, keepdim=True), _BRIGHT) * weight, *(_soft_bins(c, _CHROMA) for c in chroma)
    )
    contrast = (_soft_bins(images.amax(1, keepdim=True), _CONTRAST) * weight).sum((2, 3))
    cells = F.adaptive_avg_pool2d(torch.cat([light.brightness, 4 * (red - green), 4 * (blue - green)], 1), _GRID)
    parts = [
        _LIGHT_SHARE**0.5 * _root(joint.flatten(1)),
        _CONTRAST_SHARE**0.5 * _root(contrast),
        _LAYOUT_SHARE**0.5 * cells.flatten(1),
    ]
    return torch.cat(parts, 1)


def _soft_bins(x: Tensor, count: int) -> Tensor:
    """Membership of values in [0, 1] in overlapping triangular bins: `(B, 1, H, W)` to `(B, count, H, W)`, summing to 1."""
    centres = torch.arange(count, device=x.device, dtype=x.dtype).view(1, count, 1, 1)
    return (1 - (x.clamp(0, 1) * (count - 1) - centres).abs()).clamp_min(0)


def _root(counts: Tensor) -> Tensor:
    """Square roots of a distribution: unit length."""
    return (counts / counts.sum(1, keepdim=True).clamp_min(1e-6)).sqrt()
