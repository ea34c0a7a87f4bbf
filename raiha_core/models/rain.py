"""Region-aware adaptive instance normalisation (Ling et al., CVPR 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RAIN(nn.Module):
    """Give the foreground the background's statistics, then scale and shift each region.

    Args:
        channels: C.
        eps: added to the pixel count and to the variance.

    Shapes: `x` `(B, C, H, W)`, `mask` `(B, 1, h, w)` with 1 = foreground, resized by nearest; returns `(B, C, H, W)`.
    """

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.foreground_gamma = nn.Parameter(torch.zeros(channels))
        self.foreground_beta = nn.Parameter(torch.zeros(channels))
        self.background_gamma = nn.Parameter(torch.zeros(channels))
        self.background_beta = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def _statistics(self, x: Tensor, region: Tensor) -> tuple[Tensor, Tensor]:
        count = region.sum((2, 3), keepdim=True) + self.eps
        mean = (x * region).sum((2, 3), keepdim=True) / count
        variance = ((x - mean).square() * region).sum((2, 3), keepdim=True) / count
        return mean, (variance + self.eps).sqrt()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """See the class."""
        m = F.interpolate(mask, size=x.shape[-2:], mode="nearest").to(x.dtype)
        mean_f, std_f = self._statistics(x, m)
        mean_b, std_b = self._statistics(x, 1 - m)

        def scaled(y: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
            return y * (1 + gamma[None, :, None, None]) + beta[None, :, None, None]

        foreground = scaled((x - mean_f) / std_f * std_b + mean_b, self.foreground_gamma, self.foreground_beta)
        background = scaled((x - mean_b) / std_b, self.background_gamma, self.background_beta)
        return foreground * m + background * (1 - m)
