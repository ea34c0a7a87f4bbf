"""A small plain-convolution backbone: what `raiha-s` sees with.

Plain 3 x 3 convolutions at 1/8 resolution and below, because depthwise ones are slow on CPUs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

STRIDE = 8
"""Pixels per token of the finest map a caller may use."""


class Features(NamedTuple):
    """Maps of one batch: `eighth` `(B, 64, H/8, W/8)`, `sixteenth` `(B, 128, H/16, W/16)`, `last` `(B, 192, H/32, W/32)`."""

    eighth: Tensor
    sixteenth: Tensor
    last: Tensor


WIDTHS = (64, 128, 192)
"""Channels of the three maps."""


class ConvNorm(nn.Sequential):
    """3 x 3 convolution, batch norm and, if wanted, ReLU."""

    def __init__(self, cin: int, cout: int, stride: int = 1, relu: bool = True):
        layers: list[nn.Module] = [nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class Residual(nn.Module):
    """Two 3 x 3 convolutions with a shortcut (He et al., 2016)."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(ConvNorm(width, width), ConvNorm(width, width, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, h, w)` to the same shape."""
        return torch.relu(x + self.body(x))


class Backbone(nn.Module):
    """Pictures to features at 1/8, 1/16 and 1/32 resolution; 1.8 M parameters, 0.15 GMAC at 160 px."""

    def __init__(self) -> None:
        super().__init__()
        c8, c16, c32 = WIDTHS
        self.stem = nn.Sequential(ConvNorm(3, 16, 2), ConvNorm(16, 32, 2))
        self.to8 = nn.Sequential(ConvNorm(32, c8, 2), Residual(c8), Residual(c8))
        self.to16 = nn.Sequential(ConvNorm(c8, c16, 2), Residual(c16), Residual(c16))
        self.to32 = nn.Sequential(ConvNorm(c16, c32, 2), Residual(c32))

    def forward(self, rgb: Tensor) -> Features:
        """Features of `(B, 3, H, W)`, sRGB in [0, 1]; H and W divisible by 32."""
        eighth = self.to8(self.stem((rgb - 0.45) * 4.0))
        sixteenth = self.to16(eighth)
        return Features(eighth, sixteenth, self.to32(sixteenth))
