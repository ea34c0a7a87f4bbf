"""Retinex: a picture is reflectance times illumination; here is an edge-aware, masked estimate of the illumination.

`I = R * L`, so in logarithms `log I = log R + log L`. `L` is taken to be smooth except at strong edges:

1. start: per channel `log2 I_c`, and `log2 max(I_r, I_g, I_b)` for the brightness (the max-RGB prior: somewhere near
   each pixel something reflects at least one channel well; Land 1977, and Guo, Li, Ling, "LIME", 2017, eq. 3);
2. edge-aware smoothing with the guided filter, guided by the max-RGB picture (He, Sun, Tang, "Guided image
   filtering", 2010, eqs. 5, 6, 8), its box means replaced by *masked* box means `sum(w x) / sum(w)` (normalised
   convolution; Knutsson, Westin 1993), so that nothing under the foreground enters any window;
3. the mean over several window sizes (multi-scale Retinex; Jobson, Rahman, Woodell 1997, equal weights).

Under the foreground itself the estimate is the masked mean of its surroundings at the widest scale.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..image.colour import srgb_to_linear

# One grey level of an 8-bit picture in linear light is about 1/3300; this floor lies a little above the noise.
_FLOOR = 1.0 / 512.0
# Window radii as fractions of the picture's side.
_SCALES = (1 / 32, 1 / 12, 1 / 5)
# Longest side for which windows are summed by band matrices.
_SMALL = 128
# Variance, in squares of one f-stop, above which an edge is kept as an edge of the light.
_EDGE = 1.0


@dataclass(frozen=True)
class Retinex:
    """The two factors of a batch of pictures, in log2 of linear light (one unit is one f-stop).

    Attributes:
        brightness: `(B, 1, H, W)` log2 of the illumination's strength, at most 0 for pictures in [0, 1].
        color: `(B, 3, H, W)` log2 of the illumination's colour, its largest channel 0.
        reflectance: `(B, 1, H, W)` log2 of the max-RGB reflectance; 0 where the mask is 0.
        weight: `(B, 1, H, W)` in [0, 1]: how much of each pixel is background.
    """

    brightness: Tensor
    color: Tensor
    reflectance: Tensor
    weight: Tensor

    def illumination(self) -> Tensor:
        """The illumination in linear light, `(B, 3, H, W)`."""
        return torch.exp2(self.brightness + self.color)


def estimate(images: Tensor, background: Tensor | None = None) -> Retinex:
    """Estimate the illumination of the background.

    Args:
        images: `(B, 3, H, W)` sRGB, nominal range [0, 1].
        background: `(B, 1, H, W)` in [0, 1], 1 where a pixel counts; None counts everything.

    Returns:
        The factors at the same resolution; see `Retinex`, and the module for formula and sources.
    """
    linear = srgb_to_linear(images.float().clamp_min(0))
    weight = torch.ones_like(linear[:, :1]) if background is None else background.float().clamp(0, 1)
    logs = torch.log2(linear + _FLOOR)
    guide = logs.amax(1, keepdim=True)
    signal = torch.cat([guide, logs], 1)
    side = min(images.shape[-2:])
    radii = [max(1, round(side * scale)) for scale in _SCALES]
    smooth = torch.stack([_guided(signal, guide, weight, radius) for radius in radii]).mean(0)
    hidden = _masked_mean(signal, weight, radii[-1])
    smooth = weight * smooth + (1 - weight) * hidden
    color = smooth[:, 1:] - smooth[:, 1:].amax(1, keepdim=True)
    return Retinex(smooth[:, :1], color, (guide - smooth[:, :1]) * weight, weight)


def _guided(signal: Tensor, guide: Tensor, weight: Tensor, radius: int) -> Tensor:
    """Guided filter of every channel of `signal` with masked window means."""
    channels = signal.shape[1]
    means = _masked_mean(torch.cat([signal, guide, guide * guide, guide * signal], 1), weight, radius)
    mean_s, mean_g, mean_gg, mean_gs = torch.split(means, [channels, 1, 1, channels], 1)
    slope = (mean_gs - mean_g * mean_s) / ((mean_gg - mean_g * mean_g).clamp_min(0) + _EDGE)
    offset = mean_s - slope * mean_g
    smooth = _masked_mean(torch.cat([slope, offset], 1), weight, radius)
    return smooth[:, :channels] * guide + smooth[:, channels:]


def _masked_mean(x: Tensor, weight: Tensor, radius: int) -> Tensor:
    """Mean over a square window, of the pixels that count; where none does, the mean of all that count."""
    total = weight.sum((2, 3), keepdim=True).clamp_min(1e-6)
    overall = (x * weight).sum((2, 3), keepdim=True) / total
    # A faint pull towards the overall mean decides where a window holds no background at all.
    pull = 1e-4
    return (_box(x * weight, radius) + pull * overall) / (_box(weight, radius) + pull)


def _box(x: Tensor, radius: int) -> Tensor:
    """Window means, zero outside the picture; separable."""
    size = 2 * radius + 1
    if max(x.shape[-2:]) <= _SMALL:
        # A sum over a window is a product with a band matrix, which for small pictures takes a tenth of the time of pooling.
        rows, columns = (_band(side, radius).to(x) / size for side in x.shape[-2:])
        return rows @ x @ columns
    x = F.avg_pool2d(x, (size, 1), 1, (radius, 0))
    return F.avg_pool2d(x, (1, size), 1, (0, radius))


@functools.lru_cache(maxsize=16)
def _band(side: int, radius: int) -> Tensor:
    """`(side, side)`, 1 where row and column are at most `radius` apart."""
    places = torch.arange(side)
    return ((places[:, None] - places[None]).abs() <= radius).float()
