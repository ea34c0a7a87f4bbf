"""The denoising block of *Denoising Vision Transformers* (Yang et al., ECCV 2024), which removes position-bound artefacts."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import RaihaError

HEAD = 64
"""Channels per attention head."""


class Denoiser(nn.Module):
    """One transformer block over a vision transformer's map, after adding a learned positional map.

    Parameters bear the names of the published implementation (`pos_embed`, `denoiser.*`).

    Args:
        channels: C of the map, divisible by 64.
        side: side of the positional map in tokens; resampled to the map's size.
    """

    def __init__(self, channels: int = 768, side: int = 37):
        super().__init__()
        try:
            from timm.models.vision_transformer import Block
        except ImportError:
            raise RaihaError("The denoising block needs timm: install it with `pip install timm`.") from None

        self.pos_embed = nn.Parameter(torch.randn(1, side * side, channels) * 0.02)
        norm: Any = partial(nn.LayerNorm, eps=1e-6)
        self.denoiser = Block(channels, channels // HEAD, mlp_ratio=4, qkv_bias=True, norm_layer=norm)

    def forward(self, dense: Tensor) -> Tensor:
        """Clean a map `(B, C, h, w)`; returns the same shape."""
        from timm.layers.pos_embed import resample_abs_pos_embed

        b, c, h, w = dense.shape
        tokens = dense.flatten(2).mT + resample_abs_pos_embed(self.pos_embed, [h, w], num_prefix_tokens=0)
        cleaned: Tensor = self.denoiser(tokens)
        return cleaned.mT.reshape(b, c, h, w)
