"""Means and maxima over windows, several times as fast on a CPU as pooling layers are."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

_SLID = 9
"""Windows up to this side are slid over the picture; above it a matrix product is faster."""


@lru_cache(maxsize=64)
def _windows(size: int, window: int, stride: int, inside: bool, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Weights `(size // stride, size)`: row i averages `window` places about the middle of the i-th stretch of `stride`."""
    places = torch.arange(size, dtype=torch.float64)
    middle = (torch.arange(size // stride, dtype=torch.float64) + 0.5) * stride - 0.5
    weights = ((places[None] - middle[:, None]).abs() < window / 2).double()
    weights = weights / (weights.sum(1, keepdim=True) if inside else window)
    return weights.to(device, dtype)


@lru_cache(maxsize=64)
def _share(size: int, window: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """What the sum over each place's window is to be multiplied by, `(size,)`, where only places inside count."""
    places = torch.arange(size, dtype=torch.float64)
    reach = window // 2
    count = torch.minimum(places + reach, places.new_tensor(size - 1)) - (places - reach).clamp_min(0) + 1
    return (1 / count).to(device, dtype)


def window_mean(x: Tensor, window: int, stride: int = 1, inside: bool = True) -> Tensor:
    """Means over square windows, `(B, C, H // stride, W // stride)`.

    Args:
        x: `(B, C, H, W)`, H and W divisible by `stride`.
        window: side of the windows, as even or odd as `stride`; centred on the stretches of `stride` pixels.
        stride: pixels between windows.
        inside: average what lies inside the picture; else count what lies outside as 0.
    """
    if stride == 1 and inside and window <= _SLID:
        return _slid_mean(x, window)
    rows = _windows(x.shape[-2], window, stride, inside, x.device, x.dtype)
    columns = _windows(x.shape[-1], window, stride, inside, x.device, x.dtype)
    return rows @ (x @ columns.T)


def _slid_mean(x: Tensor, window: int) -> Tensor:
    """As `window_mean` at every pixel, by sums of shifted pictures."""
    height, width = x.shape[-2:]
    reach = window // 2
    wide = F.pad(x, (reach, reach, reach, reach))
    rows = wide[..., :height, :].clone()
    for k in range(1, window):
        rows += wide[..., k : k + height, :]
    rows *= _share(height, window, x.device, x.dtype)[:, None]
    both = rows[..., :width].clone()
    for k in range(1, window):
        both += rows[..., k : k + width]
    both *= _share(width, window, x.device, x.dtype)
    return both


def window_max(x: Tensor, window: int) -> Tensor:
    """The highest value in the square window about every pixel, `(B, C, H, W)`; what lies outside the picture does not count.

    It takes no gradient.

    Args:
        x: `(B, C, H, W)`.
        window: side of the windows, odd.
    """
    for dim in (2, 3):
        highest, size = x.clone(), x.shape[dim]
        for k in range(1, min(window // 2, size - 1) + 1):
            for here, there in ((0, k), (k, 0)):
                part = highest.narrow(dim, here, size - k)
                torch.maximum(part, x.narrow(dim, there, size - k), out=part)
        x = highest
    return x


def block_max(x: Tensor, stride: int) -> Tensor:
    """The highest value in every block of `stride` x `stride` pixels, `(B, C, H // stride, W // stride)`."""
    rows = x.unflatten(2, (-1, stride)).amax(3)
    highest: Tensor = rows.unflatten(3, (-1, stride)).amax(4)
    return highest
