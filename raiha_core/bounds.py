"""What a model's answer may do: be finite, and keep to what the scene and the object show.

A network that meets what it never saw, a whole night sky as foreground or a field of snow, can ask for black or white
paper. The answer is then taken back, as far as it must be, towards leaving the object as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .errors import RaihaError
from .models import ColorTransform

_LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709
_ROOM = 0.5
"""Of the way from the darkest that is seen to black, or from the brightest to white, how much must be left to the object's mean."""
_LOST = 0.35
"""Of the object, how much more than before may end at black or white."""
_CONTRAST = 0.2
"""Of the object's contrast, how much must stay."""
_TRIES = 12


@dataclass(frozen=True)
class Damped(ColorTransform):
    """A share of another transform, the rest of the way being no change."""

    whole: ColorTransform
    share: float

    def __call__(self, rgb: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """See `ColorTransform.__call__`."""
        return torch.lerp(rgb, self.whole(rgb, x, y).to(rgb), self.share)

    def to(self, device: torch.device | str) -> Damped:
        """See `ColorTransform.to`."""
        return Damped(self.whole.to(device), self.share)


def damped(transform: ColorTransform, share: float) -> ColorTransform:
    """A share of a transform; one of affine maps stays one of affine maps, so that clips can be averaged."""
    parts: Any = transform
    matrix = getattr(parts, "matrix", None)
    if not isinstance(matrix, Tensor) or matrix.shape[0] != 12:
        return Damped(transform, share)
    identity = torch.eye(3, 4).to(matrix).reshape(12, *[1] * (matrix.ndim - 1))
    changed = {"matrix": torch.lerp(identity.expand_as(matrix), matrix, share)}
    if isinstance(getattr(parts, "residual", None), Tensor):
        changed["residual"] = parts.residual * share
    bounded: ColorTransform = replace(parts, **changed)
    return bounded


def bounded(transform: ColorTransform, composite: Tensor, mask: Tensor) -> ColorTransform:
    """The transform, or as much of it as keeps the object within what there is to be seen.

    The object's mean brightness goes at most half of the way from the darkest that scene and object show (the 5th percentile of
    the scene, or the object's mean) to black, and likewise to white; it keeps a fifth of its contrast, and no great part of it
    becomes black or white that was not.

    Args:
        composite: what the model saw, `(1, 3, S, S)`.
        mask: `(1, 1, S, S)` in [0, 1], of the same picture; not empty.

    Raises:
        RaihaError: the answer is not finite.
    """
    inner = _around(mask)
    columns, rows = inner[3], inner[2]
    rgb, weight = composite.float().clamp(0, 1), mask.float()[inner] / mask.sum()
    at = (torch.arange(rgb.shape[-1], device=rgb.device) + 0.5) / rgb.shape[-1]
    moved = transform(rgb[inner], at[columns], at[rows]).to(rgb)
    if not bool(moved.isfinite().all()):
        raise RaihaError("The model's answer is not finite, so nothing was written; its checkpoint is damaged, use another.")
    before, scene = rgb[inner], _quantiles(_grey(rgb), (0.05, 0.95))
    old = _measured(before, weight)
    if _fits(old, _measured(moved, weight), scene):
        return transform
    low, high = 0.0, 1.0
    for _ in range(_TRIES):
        middle = (low + high) / 2
        fits = _fits(old, _measured(torch.lerp(before, moved, middle), weight), scene)
        low, high = (middle, high) if fits else (low, middle)
    return damped(transform, low)


def _around(mask: Tensor) -> tuple[slice, ...]:
    """The box of what a mask `(1, 1, S, S)` covers, with the pixels beside it."""
    inside = mask[0, 0] > 0
    lines = [inside.any(dim).nonzero()[:, 0] for dim in (1, 0)]
    return (slice(None), slice(None), *(slice(max(0, int(n[0]) - 1), int(n[-1]) + 2) for n in lines))


class _Measured(NamedTuple):
    """Of an object: its mean brightness and its contrast, and the share of it without any drawing in it."""

    mean: Tensor
    spread: Tensor
    lost: Tensor


def _measured(rgb: Tensor, weight: Tensor) -> _Measured:
    grey = _grey(rgb)
    mean = (grey * weight).sum()
    return _Measured(mean, ((grey - mean).square() * weight).sum().sqrt(), _lost(rgb, weight))


def _grey(rgb: Tensor) -> Tensor:
    return torch.einsum("c,bchw->bhw", rgb.new_tensor(_LUMA), rgb.clamp(0, 1))[:, None]


def _quantiles(x: Tensor, shares: tuple[float, ...]) -> Tensor:
    """As `torch.quantile` of all values, which is slow; `np.quantile` imports masked arrays, a hundredth of a cold start."""
    values = np.sort(x.flatten().cpu().numpy())
    return x.new_tensor(np.interp(np.multiply(shares, len(values) - 1), np.arange(len(values)), values))


def _fits(before: _Measured, after: _Measured, scene: Tensor) -> bool:
    """Whether an object may become so, in a scene whose 5th and 95th percentile of brightness are given."""
    dark = after.mean >= _ROOM * torch.minimum(scene[0], before.mean) - 1e-4
    bright = 1 - after.mean >= _ROOM * (1 - torch.maximum(scene[1], before.mean)) - 1e-4
    drawn = after.spread >= _CONTRAST * before.spread - 1e-4
    kept = after.lost - before.lost <= _LOST
    return bool(dark & bright & drawn & kept)


def _lost(rgb: Tensor, weight: Tensor) -> Tensor:
    """The share of the object without any drawing left in it: all channels at black or all at white."""
    black, white = (rgb <= 0.004).all(1, keepdim=True), (rgb >= 0.996).all(1, keepdim=True)
    return ((black | white) * weight).sum()
