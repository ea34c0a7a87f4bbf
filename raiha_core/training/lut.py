"""Colour changes as 3-D lookup tables (LUTs): computed on a small grid of colours, then applied to any number of pixels.

A change of colour is drawn once per picture but applied to tens of thousands of pixels; on the grid it costs a tenth.
LUTs are `(B, 3, T, T, T)`, indexed by (r, g, b).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SIZE = 13


def identity(n: int, device: torch.device, size: int = SIZE) -> Tensor:
    """The grid of colours as `n` pictures `(n, 3, size, size * size)`, for functions that change pictures."""
    axis = torch.linspace(0, 1, size, device=device)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))
    return grid.reshape(1, 3, size, size * size).expand(n, -1, -1, -1)


def as_lut(x: Tensor) -> Tensor:
    """Changed grid pictures `(n, 3, T, T * T)` as LUTs `(n, 3, T, T, T)`, clamped to [0, 1]."""
    size = x.shape[2]
    return x.reshape(len(x), 3, size, size, size).clamp(0, 1)


def apply_lut(x: Tensor, lut: Tensor) -> Tensor:
    """Look up colours trilinearly.

    Args:
        x: `(B, 3, H, W)`; clamped to [0, 1].
        lut: `(B, 3, T, T, T)`.

    Returns:
        `(B, 3, H, W)`.
    """
    # grid_sample's first coordinate runs along the LUT's last axis, hence the flip.
    grid = (x.clamp(0, 1) * 2 - 1).flip(1).permute(0, 2, 3, 1)[:, None]
    return F.grid_sample(lut, grid, padding_mode="border", align_corners=True)[:, :, 0]
