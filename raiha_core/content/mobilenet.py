"""MobileNetV2 without its classifier: what the embedded encoder sees with (Sandler et al., 2018)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

# Expansion, channels, blocks, stride of the first: table 2 of the paper, after the first convolution.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
LAST = 1280


class _Filter(nn.Conv2d):
    """Convolution with its batch norm folded in; 3 x 3 ones of stride 2 are padded as TensorFlow does: below and to the right."""

    def __init__(self, cin: int, cout: int, kernel: int = 1, stride: int = 1, groups: int = 1, clip: bool = True):
        super().__init__(cin, cout, kernel, stride, padding=kernel // 2 if stride == 1 else 0, groups=groups)
        self.clip = clip

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(F.pad(x, (0, 1, 0, 1)) if self.stride == (2, 2) else x)
        if not self.clip:
            return y
        # In place where nothing has to be kept for training: fresh memory costs as much as the convolution.
        return y.clamp(0, 6) if y.requires_grad else y.clamp_(0, 6)


class _Block(nn.Sequential):
    """Expand, filter each channel, project; a shortcut where the shape stays."""

    def __init__(self, cin: int, cout: int, expansion: int, stride: int):
        wide = cin * expansion
        layers = [] if expansion == 1 else [_Filter(cin, wide)]
        super().__init__(*layers, _Filter(wide, wide, 3, stride, groups=wide), _Filter(wide, cout, clip=False))
        self.shortcut = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        if not self.shortcut:
            return y
        return x + y if y.requires_grad else y.add_(x)


class MobileNetV2(nn.Module):
    """Pictures to a map of 1280 channels at 1/32 resolution; 2.2 M parameters, 0.22 GMAC at 192 px."""

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        width = 32
        for expansion, channels, count, stride in _STAGES:
            for i in range(count):
                blocks.append(_Block(width, channels, expansion, stride if i == 0 else 1))
                width = channels
        self.blocks = nn.Sequential(_Filter(3, 32, 3, 2), *blocks)
        self.last = _Filter(width, LAST)

    def forward(self, rgb: Tensor) -> Tensor:
        """Features `(B, 1280, H/32, W/32)`, not negative, of `(B, 3, H, W)`, sRGB in [0, 1]; H and W divisible by 32."""
        out: Tensor = self.last(self.blocks(rgb * 2 - 1))
        return out

    def filters(self) -> list[nn.Conv2d]:
        """All convolutions from the picture to the last map, in order."""
        return [m for m in self.modules() if isinstance(m, nn.Conv2d)]
