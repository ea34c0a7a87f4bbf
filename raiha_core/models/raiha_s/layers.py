"""What `raiha-s` is built from."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..pooling import window_mean
from ..rain import RAIN
from .backbone import STRIDE, ConvNorm

WIDE = 96


class Block(nn.Module):
    """Residual block whose normalisation tells foreground from background."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm = RAIN(width)
        self.second = ConvNorm(width, width, relu=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`x` `(B, width, h, w)`, `mask` `(B, 1, h, w)`, 1 in the foreground."""
        return torch.relu(x + self.second(torch.relu(self.norm(self.first(x), mask))))


L = TypeVar("L", nn.Linear, nn.Conv1d, nn.Conv2d)


def zeros(layer: L, bias: list[float] | None = None) -> L:
    """The layer with weights 0 and the bias given, or 0."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    with torch.no_grad():
        layer.bias.copy_(torch.tensor(bias or [0.0] * len(layer.bias)))
    return layer


class Wide(nn.Module):
    """Residual branch at 1/16 resolution: lets places far apart talk, and starts as nothing."""

    def __init__(self, width: int):
        super().__init__()
        self.down = ConvNorm(width, WIDE, 2)
        self.blocks = nn.ModuleList([Block(WIDE), Block(WIDE)])
        self.up = zeros(nn.Conv2d(WIDE, width, 1))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """As `Block.forward`; h and w are even."""
        coarse, inside = self.down(x), F.max_pool2d(mask, 2)
        for block in self.blocks:
            coarse = block(coarse, inside)
        out: Tensor = x + F.interpolate(self.up(coarse), size=x.shape[-2:], mode="bilinear", align_corners=False)
        return out


def masked_mean(x: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over places, `(B, C)`."""
    return (x * weight).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1e-4)


def token_colours(rgb: Tensor, weight: Tensor) -> Tensor:
    """Mean and standard deviation of the weighted colours in every token, `(B, 6, h, w)`."""
    share, mean, square = window_mean(torch.cat([weight, rgb * weight, rgb * rgb * weight], 1), STRIDE, STRIDE).split([1, 3, 3], 1)
    mean, square = mean / (share + 1e-4), square / (share + 1e-4)
    return torch.cat([mean, (square - mean * mean).clamp_min(1e-6).sqrt()], 1)
