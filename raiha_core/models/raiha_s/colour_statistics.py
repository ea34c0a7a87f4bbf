"""What a region's colours say: moments, histograms and a closed-form colour match, all batched and weighted."""

from __future__ import annotations

import torch
from torch import Tensor

HISTOGRAM_BINS = 16
CHROMA_BINS = 10
DESCRIPTOR = 3 + 6 + 4 * HISTOGRAM_BINS + CHROMA_BINS * CHROMA_BINS
"""Length of what `describe` returns for one region."""


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


def soft_bins(index: Tensor, weight: Tensor, bins: int) -> Tensor:
    """Histogram of fractional positions `(B, N)` in [0, bins - 1], each vote shared by the two nearest bins."""
    low = index.floor().clamp(0, bins - 2)
    share = index - low
    out = torch.zeros(index.shape[0], bins, dtype=weight.dtype, device=weight.device)
    low = low.long()
    return out.scatter_add_(1, low, weight * (1 - share)).scatter_add_(1, low + 1, weight * share)


def describe(rgb: Tensor, weight: Tensor) -> Tensor:
    """Describe a region's colours.

    Mean (3), square roots of the covariance's upper triangle with sign (6), histograms of luminance, red, green and
    blue (16 each), and a chroma histogram over (r - g, (r + g) / 2 - b), 10 x 10. Histograms enter as square roots
    (Hellinger), so that small shares count.

    Args:
        rgb: `(B, 3, N)` in [0, 1].
        weight: `(B, 1, N)`.

    Returns:
        `(B, DESCRIPTOR)`.
    """
    mean, covariance = moments(rgb, weight)
    upper = torch.triu_indices(3, 3, device=rgb.device)
    spread = covariance[:, upper[0], upper[1]]
    spread = spread.sign() * (spread.abs() + 1e-6).sqrt()
    w = (weight / weight.sum(2, keepdim=True).clamp_min(1e-6))[:, 0]
    x = rgb.clamp(0, 1)
    luminance = 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2]
    rows = [soft_bins(c * (HISTOGRAM_BINS - 1), w, HISTOGRAM_BINS) for c in (luminance, x[:, 0], x[:, 1], x[:, 2])]
    # Chroma is mostly small: a square root gives the neutral centre more bins.
    u, v = x[:, 0] - x[:, 1], (x[:, 0] + x[:, 1]) / 2 - x[:, 2]
    u, v = ((c.sign() * (c.abs() + 1e-6).sqrt() + 1) / 2 * (CHROMA_BINS - 1) for c in (u, v))
    ui, du = u.floor().clamp(0, CHROMA_BINS - 2), u - u.floor().clamp(0, CHROMA_BINS - 2)
    chroma = torch.zeros(len(x), CHROMA_BINS * CHROMA_BINS, dtype=x.dtype, device=x.device)
    vi = v.floor().clamp(0, CHROMA_BINS - 2)
    dv = v - vi
    for i, wu in ((0, 1 - du), (1, du)):
        for j, wv in ((0, 1 - dv), (1, dv)):
            chroma.scatter_add_(1, ((ui + i) * CHROMA_BINS + vi + j).long(), w * wu * wv)
    histograms = torch.cat([*rows, chroma], 1)
    return torch.cat([mean, spread, (histograms + 1e-5).sqrt()], 1)


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
