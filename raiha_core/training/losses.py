"""Losses on the foreground."""

from __future__ import annotations

from torch import Tensor


def foreground_mse(result: Tensor, real: Tensor, mask: Tensor, minimum_area: float = 100.0) -> Tensor:
    """Foreground-normalised squared error per picture, the paper's loss and iHarmony4's fMSE.

    Args:
        result, real: `(B, 3, H, W)` in the same units.
        mask: `(B, 1, H, W)` in [0, 1].
        minimum_area: pixels that the mask counts for at least, so that tiny masks do not explode.

    Returns:
        `(B,)`: squared error summed over the picture / (3 x mask area).
    """
    area = mask.sum((1, 2, 3)).clamp_min(minimum_area)
    return (result - real).square().sum((1, 2, 3)) / (3 * area)


def soft_clamp(x: Tensor, leak: float = 0.1) -> Tensor:
    """Clamp to [0, 1] but let a little gradient through, since the shown picture is clamped and training must not stall."""
    inside = x.clamp(0, 1)
    return inside + leak * (x - inside)


SPILL = 0.3
"""Worth of a pixel of background that a mask takes in, beside one of the object."""


def seen_weight(cut: Tensor, mask: Tensor) -> Tensor:
    """What each pixel's error counts, `(B, 1, h, w)`: the object's where the mask shows it, and less the background's under the mask.

    Args:
        cut: what the object was cut with, `(B, 1, h, w)`.
        mask: the mask that was handed over.
    """
    return mask * (cut + SPILL * (1 - cut))


def harmonisation_loss(result: Tensor, real: Tensor, cut: Tensor, weight: Tensor, minimum_area: float) -> Tensor:
    """Mean of fMSE and its root: the first is what is judged, the second keeps small errors worth mending. Scalar.

    Args:
        result, real: `(B, 3, h, w)`.
        cut: `(B, 1, h, w)`, the object.
        weight: `(B, 1, h, w)`, see `seen_weight`.
        minimum_area: pixels that an object counts for at least.
    """
    area = (cut * (weight > 0)).sum((1, 2, 3)).clamp_min(minimum_area)
    fmse = (weight * (soft_clamp(result) - real).square()).sum((1, 2, 3)) / (3 * area)
    return (10 * fmse + 0.7 * (fmse + 1e-4).sqrt()).mean()
