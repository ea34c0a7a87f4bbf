"""What a region's colours say: moments, histograms and a closed-form colour match, all batched and weighted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

HISTOGRAM_BINS = 16
CHROMA_BINS = 10
DESCRIPTOR = 3 + 6 + 4 * HISTOGRAM_BINS + CHROMA_BINS * CHROMA_BINS
"""Length of what `described` says of one region."""


def moments(rgb: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and covariance of colours.

    Args:
        rgb: `(B, 3, N)`.
        weight: `(B, 1, N)`, not negative.

    Returns:
        mean `(B, 3)` and covariance `(B, 3, 3)`.
    """
    total = weight.sum(2).clamp_min(1e-6)
    mean = (rgb * weight).sum(2) / total
    centred = rgb - mean[:, :, None]
    return mean, torch.einsum("bin,bjn->bij", centred * weight, centred) / total[:, :, None]


class Votes(NamedTuple):
    """Fractional positions as votes for the bins beside them: `low` `(B, N)` int64, and the `share` of the next bin, `(B, N)`."""

    low: Tensor
    share: Tensor


def votes(index: Tensor, bins: int) -> Votes:
    """Positions `(B, N)` in [0, bins - 1] as votes."""
    low = index.floor().clamp_(0, bins - 2)
    return Votes(low.long(), index - low)


def histogram(at: Votes, weight: Tensor, bins: int) -> Tensor:
    """Weighted histogram, `(B, bins)`; `weight` is `(B, N)`."""
    out = torch.zeros(weight.shape[0], bins, dtype=weight.dtype, device=weight.device)
    upper = weight * at.share
    return out.scatter_add_(1, at.low, weight - upper).scatter_add_(1, at.low + 1, upper)


Moments: TypeAlias = tuple[Tensor, Tensor]
"""Mean `(B, 3)` and covariance `(B, 3, 3)`."""


def described(rgb: Tensor, weights: Sequence[Tensor]) -> list[tuple[Moments, Tensor]]:
    """Describe the colours of several regions of a picture.

    Mean (3), square roots of the covariance's upper triangle with sign (6), histograms of luminance, red, green and
    blue (16 each), and a chroma histogram over (r - g, (r + g) / 2 - b), 10 x 10. Histograms enter as square roots
    (Hellinger), so that small shares count.

    Args:
        rgb: `(B, 3, N)` in [0, 1].
        weights: `(B, 1, N)` for every region.

    Returns:
        for every region its moments and its description, `(B, DESCRIPTOR)`.
    """
    x = rgb.clamp(0, 1)
    red, green, blue = x.unbind(1)
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    single = [votes(c * (HISTOGRAM_BINS - 1), HISTOGRAM_BINS) for c in (luminance, red, green, blue)]
    # Chroma is mostly small: a square root gives the neutral centre more bins.
    pair = (red - green, (red + green) / 2 - blue)
    u, v = (votes((signed_root(c) + 1) / 2 * (CHROMA_BINS - 1), CHROMA_BINS) for c in pair)
    corner = u.low * CHROMA_BINS + v.low
    return [_described(rgb, weight, single, corner, u.share, v.share) for weight in weights]


def _described(rgb: Tensor, weight: Tensor, single: list[Votes], corner: Tensor, du: Tensor, dv: Tensor) -> tuple[Moments, Tensor]:
    mean, covariance = moments(rgb, weight)
    upper = torch.triu_indices(3, 3, device=rgb.device)
    spread = signed_root(covariance[:, upper[0], upper[1]])
    w = (weight / weight.sum(2, keepdim=True).clamp_min(1e-6))[:, 0]
    rows = [histogram(at, w, HISTOGRAM_BINS) for at in single]
    chroma = torch.zeros(len(w), CHROMA_BINS * CHROMA_BINS, dtype=w.dtype, device=w.device)
    right = w * du
    for i, across in ((0, w - right), (1, right)):
        below = across * dv
        chroma.scatter_add_(1, corner + i * CHROMA_BINS, across - below).scatter_add_(1, corner + i * CHROMA_BINS + 1, below)
    histograms = torch.cat([*rows, chroma], 1)
    return (mean, covariance), torch.cat([mean, spread, (histograms + 1e-5).sqrt()], 1)


def signed_root(x: Tensor) -> Tensor:
    """The square root of the magnitude, with the sign."""
    return x.sign() * (x.abs() + 1e-6).sqrt()


def fit_affine(source: Tensor, target: Tensor, weight: Tensor, ridge: Tensor | float) -> tuple[Tensor, Tensor]:
    """The affine map that takes colours to others, by weighted ridge regression towards "keep the contrast".

    Solves min_A sum w |A (s - mean_s) - (t - mean_t)|^2 + ridge |A - I|^2.

    Args:
        source: `(B, 3, N)`.
        target: `(B, 3, N)`.
        weight: `(B, 1, N)`; scaled to sum to 1.
        ridge: how strongly A is drawn to the identity, in units of variance.

    Returns:
        A `(B, 3, 3)` and the shift of the mean `(B, 3)`.
    """
    w = weight / weight.sum(2, keepdim=True).clamp_min(1e-6)
    ms, mt = (source * w).sum(2), (target * w).sum(2)
    s, t = source - ms[:, :, None], target - mt[:, :, None]
    eye = torch.eye(3, dtype=s.dtype, device=s.device)
    ss = torch.einsum("bin,bjn->bij", s * w, s) + ridge * eye
    ts = torch.einsum("bin,bjn->bij", t * w, s) + ridge * eye
    return torch.linalg.solve(ss, ts, left=False), mt - ms
