"""Means over windows as two small matrix products, several times as fast on a CPU as pooling layers are."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=64)
def _windows(size: int, window: int, stride: int, inside: bool, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Weights `(size // stride, size)`: row i averages `window` places about the middle of the i-th stretch of `stride`."""
    places = torch.arange(size, dtype=torch.float64)
    middle = (torch.arange(size // stride, dtype=torch.float64) + 0.5) * stride - 0.5
    weights = ((places[None] - middle[:, None]).abs() < window / 2).double()
    weights = weights / (weights.sum(1, keepdim=True) if inside else window)
    return weights.to(device, dtype)


def window_mean(x: Tensor, window: int, stride: int = 1, inside: bool = True) -> Tensor:
    """Means over square windows, `(B, C, H // stride, W // stride)`.

    Args:
        x: `(B, C, H, W)`, H and W divisible by `stride`.
        window: side of the windows, as even or odd as `stride`; centred on the stretches of `stride` pixels.
        stride: pixels between windows.
        inside: average what lies inside the picture; else count what lies outside as 0.
    """
    rows = _windows(x.shape[-2], window, stride, inside, x.device, x.dtype)
    columns = _windows(x.shape[-1], window, stride, inside, x.device, x.dtype)
    return rows @ (x @ columns.T)
