"""From pixels to a colour transform: guided upsampling for networks that draw small pictures.

A network that gives a picture of 256 px cannot be resized to the original's size without blurring it. What it *did* to
the colours is smooth, though: locally affine maps from its input to its output are fitted and applied to the original
pixels. This is the guided filter's model (He et al., ECCV 2010; He and Sun, 2015) on a bilateral grid (Chen et al., 2007;
2016): one map per place and brightness, since edits bend the tone curve, too. What the maps leave unexplained is small and
added as the network drew it; the fine detail always comes from the original.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import ColorTransform, apply_affine

_LUMINANCE = (0.299, 0.587, 0.114)
_SOFTEN = 0.7
"""Pixels by which both pictures are blurred before the fit, so that a network's softness is not taken for lost contrast."""


@dataclass(frozen=True)
class LocalColours(ColorTransform):
    """Affine colour transforms on a grid over place and brightness, interpolated linearly, and a small residual, by cubics.

    Attributes:
        matrix: `(12, d, h, w)` float32: d brightness levels from 0 to 1, then rows and columns; entries as in `AffineMap`.
        residual: `(3, H, W)` float32, added after the transforms.
    """

    matrix: Tensor
    residual: Tensor

    def __call__(self, rgb: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """See `ColorTransform.__call__`."""
        rgb = rgb.to(self.matrix)
        # Cell centres lie at (i + 0.5) / cells: what grid_sample calls align_corners=False.
        gx, gy = (2 * p.to(self.matrix) - 1 for p in (x, y))
        place = torch.stack([gx[None, :].expand(len(y), -1), gy[:, None].expand(-1, len(x))], -1)
        levels = self.matrix.shape[1]
        level = (_luminance(rgb)[0, 0] * (levels - 1) + 0.5) / levels * 2 - 1
        maps = _sample(self.matrix, torch.cat([place, level[..., None]], -1)[None])[:, :, 0]
        return apply_affine(rgb, maps) + _sample(self.residual, place, "bicubic")

    def to(self, device: torch.device | str) -> LocalColours:
        """See `ColorTransform.to`."""
        return LocalColours(self.matrix.to(device), self.residual.to(device))


def _sample(grid: Tensor, place: Tensor, mode: str = "bilinear") -> Tensor:
    return F.grid_sample(grid[None], place[None], mode=mode, padding_mode="border", align_corners=False)


def _luminance(rgb: Tensor) -> Tensor:
    return (rgb * rgb.new_tensor(_LUMINANCE)[:, None, None]).sum(1, keepdim=True)


def fit_local_colours(
    source: Tensor,
    target: Tensor,
    mask: Tensor,
    *,
    cells: int = 16,
    levels: int = 8,
    ridge: float = 1e-4,
    borrow: float = 1e-2,
) -> LocalColours:
    """Fit a smooth local colour transform between a small picture and what a network made of it.

    Weighted ridge regression in closed form, all cells at once: minimises sum w |A s + b - t|^2 + ridge |A - A0|^2, where w
    is the mask times a Gaussian in place and a linear kernel in brightness, and A0 the fit of the whole foreground, itself
    drawn to the identity. Cells without much evidence borrow the whole foreground's moments.

    Args:
        source: `(1, 3, S, S)` in [0, 1], what the network saw.
        target: `(1, 3, S, S)`, what it gave.
        mask: `(1, 1, S, S)` in [0, 1]; only the foreground counts. Where it is empty, the transform is the identity.
        cells: columns and rows of the grid.
        levels: of brightness, at least 2.
        ridge: how strongly A is drawn to A0, in units of variance.
        borrow: weight of the whole foreground's moments, as a share of a full cell's weight.

    Returns:
        a transform on the unit square of `source`.
    """
    if not mask.any():
        identity = torch.eye(3, 4, device=source.device).reshape(12, 1, 1, 1)
        return LocalColours(identity, torch.zeros(3, 1, 1, device=source.device))
    # Double precision: moments of nearly constant windows cancel.
    s, t = (_soften(x, mask).double() for x in (source, target))
    m = mask.double()
    inside = (mask[0, 0] > 0).nonzero()
    rows, columns = (slice(int(k.min()), int(k.max()) + 1) for k in inside.unbind(1))
    first = torch.cat([s, torch.ones_like(m)], 1)[0, :, rows, columns]
    products = first[:, None] * torch.cat([first, t[0, :, rows, columns]]) * m[0, :, rows, columns]  # (4, 7, h, w)
    window = _windows(s.shape[-1], cells).to(s)
    bright = _luminance(s)[0, 0, rows, columns].clamp(0, 1) * (levels - 1)
    shares = [(1 - (bright - level).abs()).clamp_min(0) for level in range(levels)]
    moments = torch.stack([window[:, rows] @ (products * share) @ window[:, columns].mT for share in shares])
    moments = _smooth_levels(moments).permute(0, 3, 4, 1, 2)  # (d, cells, cells, 4, 7)
    whole = products.sum((2, 3))
    whole = whole / whole[3, 3]
    overall, _ = _solve(whole[None], torch.eye(3, dtype=s.dtype, device=s.device), ridge)
    full = window.sum(1).mean() ** 2
    matrix, shift = _solve((moments + borrow * full * whole).flatten(0, 2), overall[0], ridge)
    packed = torch.cat([matrix, shift[:, :, None]], 2).reshape(levels, cells, cells, 12).permute(3, 0, 1, 2)
    fitted = LocalColours(packed.float().contiguous(), torch.zeros(3, 1, 1, device=source.device))
    return LocalColours(fitted.matrix, _residual(source.float(), target.float(), mask.float(), fitted))


def _residual(source: Tensor, target: Tensor, mask: Tensor, fitted: LocalColours) -> Tensor:
    """What the fit leaves of `target`, `(3, S, S)`, continued a little beyond the mask's edge for the interpolation's sake."""
    at = (torch.arange(source.shape[-1], device=source.device) + 0.5) / source.shape[-1]
    left = (target - fitted(source, at, at)) * mask
    around = _blur(left, 1.0) / (_blur(mask, 1.0) + 1e-3)
    return torch.where(mask > 0, left, around)[0]


def _soften(x: Tensor, mask: Tensor) -> Tensor:
    """Blur within the mask."""
    return _blur(x * mask, _SOFTEN) / (_blur(mask, _SOFTEN) + 1e-6)


def _blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of `(1, C, S, S)`, sigma in pixels."""
    at = torch.arange(x.shape[-1], dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * ((at[:, None] - at) / sigma).square())
    kernel = kernel / kernel.sum(1, keepdim=True)
    return kernel @ x @ kernel.mT


def _windows(side: int, cells: int) -> Tensor:
    """Gaussian weights `(cells, side)` of the pixels for every cell, with a deviation of one cell."""
    at = (torch.arange(side, dtype=torch.float64) + 0.5) / side * cells
    centre = torch.arange(cells, dtype=torch.float64) + 0.5
    return torch.exp(-0.5 * (at[None] - centre[:, None]).square())


def _smooth_levels(moments: Tensor) -> Tensor:
    """Let neighbouring brightness levels share evidence (1 2 1)."""
    none = torch.zeros_like(moments[:1])
    padded = torch.cat([none, moments, none])
    return (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4


def _solve(moments: Tensor, towards: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Ridge regression from moments `(N, 4, 7)` of (s, 1) with (s, 1, t): A `(N, 3, 3)` and b `(N, 3)`."""
    m = moments / moments[:, 3:4, 3:4]
    mean_s, mean_t = m[:, 3, :3], m[:, 3, 4:]
    eye = torch.eye(3, dtype=m.dtype, device=m.device)
    ss = m[:, :3, :3] - mean_s[:, :, None] * mean_s[:, None] + ridge * eye
    st = m[:, :3, 4:] - mean_s[:, :, None] * mean_t[:, None] + ridge * towards.mT
    a = torch.linalg.solve(ss, st).mT
    return a, mean_t - (a @ mean_s[:, :, None])[:, :, 0]
