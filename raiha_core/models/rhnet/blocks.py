"""The parts of RHNet: activation-first convolutions, mask-guided dynamic convolution and semantic-guided fusion."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fusion import cosine_attention

SLOPE = 0.2
"""Negative slope of the encoder's activation."""
CONTENT_STRIDE = 8
"""Pixels per token where content comes in."""
SCALE = 20.0
"""Factor on the cosine before the softmax."""


def down(cin: int, cout: int, *, half: bool = False) -> nn.Sequential:
    """LeakyReLU, then a 3 x 3 convolution, or a 4 x 4 one that halves the resolution."""
    return nn.Sequential(nn.LeakyReLU(SLOPE), nn.Conv2d(cin, cout, 4 if half else 3, 2 if half else 1, 1, bias=False))


def up(cin: int, cout: int, *, double: bool = False, bias: bool = False) -> nn.Sequential:
    """ReLU, then a 3 x 3 transposed convolution, or a 4 x 4 one that doubles the resolution."""
    return nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(cin, cout, 4 if double else 3, 2 if double else 1, 1, bias=bias))


class DynamicConv(nn.Module):
    """A 1 x 1 convolution whose kernels are predicted from the whole picture: one for the foreground, one for the rest.

    Args:
        channels: C of input and output.

    Shapes: `x` `(B, C, H, W)`, `mask` `(B, 1, h, w)`, resized by nearest; returns `(B, C, H, W)`.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv_kernel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, 4, 1),
            nn.Sigmoid(),
            nn.Conv2d(4, 2 * channels * channels, 1, groups=2),
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """See the class."""
        b, c, h, w = x.shape
        m = F.interpolate(mask, size=(h, w), mode="nearest").to(x.dtype)
        kernels = self.conv_kernel(x).reshape(b, 2, c, c)
        flat = x.flatten(2)
        inside: Tensor = (kernels[:, 0] @ flat).reshape(b, c, h, w)
        outside: Tensor = (kernels[:, 1] @ flat).reshape(b, c, h, w)
        return inside * m + outside * (1 - m)


class SemanticFusion(nn.Module):
    """Let each foreground token take over the features of places with similar content (Raiha, section 3.3).

    Args:
        channels: C of the features.
        content_channels: C' of the content prior; 0 for none.
    """

    def __init__(self, channels: int, content_channels: int):
        super().__init__()
        self.K_conv = nn.Conv2d(channels + content_channels, channels, 1)
        self.fuse = nn.Conv2d(2 * channels, channels, 1, bias=False)

    def forward(self, x: Tensor, mask: Tensor, content: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Fuse.

        Args:
            x: `(B, C, h, P * w)`: the composite's tokens, to their right those of P - 1 references.
            mask: `(B, 1, 8 h, 8 w)`, of the composite alone; a token that it touches is foreground.
            content: `(B, C', h, P * w)`, or None where the network has none.

        Returns:
            `(B, C, h, P * w)`; the attention of every composite token `(B, h * w, P * h * w)`, keys panel-major (only the
            foreground's rows mean anything); foreground tokens `(B, h * w)` bool.
        """
        b, c, h, wide = x.shape
        touched = F.max_pool2d(mask, CONTENT_STRIDE) > 0
        w = touched.shape[3]
        panels = wide // w
        projected = self.K_conv(x if content is None else torch.cat([x, content.to(x.dtype)], 1))
        background = F.pad(~touched, (0, wide - w), value=True)
        attended, weights = cosine_attention(
            projected[..., :w].flatten(2), projected.flatten(2), x.flatten(2), background.flatten(1), SCALE
        )  # fmt: skip
        own = x[..., :w]
        fused = self.fuse(torch.cat([attended.reshape(b, c, h, w), own], 1))
        out = torch.cat([torch.where(touched, fused, own), x[..., w:]], 3)
        by_panel = weights.reshape(b, h * w, h, panels, w).transpose(2, 3).flatten(2)
        return out, by_panel, touched.flatten(1)
