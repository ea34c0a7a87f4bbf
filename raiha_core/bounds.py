"""What a model's answer may do: be finite, and keep to what the scene and the object show.

A network that meets what it never saw, a whole night sky as foreground or a field of snow, can ask for black or white
paper. The answer is then taken back, as far as it must be, towards leaving the object as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

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
    rgb, weight = composite.float().clamp(0, 1), mask.float() / mask.sum()
    at = (torch.arange(rgb.shape[-1], device=rgb.device) + 0.5) / rgb.shape[-1]
    moved = transform(rgb, at, at).to(rgb)
    if not bool(moved.isfinite().all()):
        raise RaihaError("The model's answer is not finite, so nothing was written; its checkpoint is damaged, use another.")
    if _fits(rgb, moved, rgb, weight):
        return transform
    low, high = 0.0, 1.0
    for _ in range(_TRIES):
        middle = (low + high) / 2
        low, high = (middle, high) if _fits(rgb, torch.lerp(rgb, moved, middle), rgb, weight) else (low, middle)
    return damped(transform, low)


def _fits(before: Tensor, after: Tensor, scene: Tensor, weight: Tensor) -> bool:
    def grey(x: Tensor) -> Tensor:
        return torch.einsum("c,bchw->bhw", x.new_tensor(_LUMA), x.clamp(0, 1))[:, None]

    old, new = grey(before), grey(after)
    mean_old, mean_new = (old * weight).sum(), (new * weight).sum()
    seen = torch.quantile(grey(scene).flatten(), scene.new_tensor([0.05, 0.95]))
    spread_old, spread_new = (((x - m).square() * weight).sum().sqrt() for x, m in ((old, mean_old), (new, mean_new)))
    dark = mean_new >= _ROOM * torch.minimum(seen[0], mean_old) - 1e-4
    bright = 1 - mean_new >= _ROOM * (1 - torch.maximum(seen[1], mean_old)) - 1e-4
    drawn = spread_new >= _CONTRAST * spread_old - 1e-4
    kept = _lost(after, weight) - _lost(before, weight) <= _LOST
    return bool(dark & bright & drawn & kept)


def _lost(rgb: Tensor, weight: Tensor) -> Tensor:
    """The share of the object without any drawing left in it: all channels at black or all at white."""
    black, white = (rgb <= 0.004).all(1, keepdim=True), (rgb >= 0.996).all(1, keepdim=True)
    return ((black | white) * weight).sum()
