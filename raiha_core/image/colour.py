"""Colour spaces for batched tensors: sRGB, linear light, CIE Lab (D65)."""

from __future__ import annotations

import torch
from torch import Tensor

# IEC 61966-2-1: linear sRGB to CIE XYZ, D65.
_XYZ = torch.tensor([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
_WHITE = _XYZ.sum(1)


def srgb_to_linear(rgb: Tensor) -> Tensor:
    """Undo the sRGB transfer curve, any shape; negative values go through the linear part (IEC 61966-2-1)."""
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: Tensor) -> Tensor:
    """Apply the sRGB transfer curve, any shape; inverse of `srgb_to_linear`."""
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


def _mix(matrix: Tensor, x: Tensor) -> Tensor:
    return torch.einsum("ij,bjhw->bihw", matrix.to(x), x)


def srgb_to_lab(rgb: Tensor) -> Tensor:
    """sRGB `(B, 3, H, W)` in [0, 1] to CIE Lab: L in [0, 100], a and b about [-110, 110] (CIE 15)."""
    xyz = _mix(_XYZ, srgb_to_linear(rgb)) / _WHITE.to(rgb)[:, None, None]
    delta = 6 / 29
    f = torch.where(xyz > delta**3, xyz.clamp_min(delta**3) ** (1 / 3), xyz / (3 * delta**2) + 4 / 29)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def lab_to_srgb(lab: Tensor) -> Tensor:
    """CIE Lab `(B, 3, H, W)` to sRGB; inverse of `srgb_to_lab`, not clamped."""
    level, a, b = lab.unbind(1)
    y = (level + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], 1)
    delta = 6 / 29
    xyz = torch.where(f > delta, f**3, 3 * delta**2 * (f - 4 / 29)) * _WHITE.to(lab)[:, None, None]
    return linear_to_srgb(_mix(torch.linalg.inv(_XYZ), xyz))
