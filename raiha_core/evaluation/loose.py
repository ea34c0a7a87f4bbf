"""Masks as people hand them over, made from exact ones: what is measured beside the exact mask, since nobody's is exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RaihaError
from .methods import Harmonise, MaskArray
from .metrics import Image8, foreground_of

LOOSE: dict[str, dict[str, float]] = {
    "feathered 5 px": {"feather": 5},
    "x 0.9": {"white": 0.9},
    "grown 3 px": {"grow": 3},
    "grown 8 px": {"grow": 8},
    "shrunk 3 px": {"grow": -3},
    "grown 8 px, feathered 4 px": {"grow": 8, "feather": 4},
}
"""Name -> arguments of `loosened`; with the exact mask they make the seven that are reported."""


def loosened(mask: MaskArray, grow: float = 0.0, feather: float = 0.0, white: float = 1.0) -> MaskArray:
    """A mask `(H, W)` grown (or shrunk, where negative) and feathered by pixels, its white multiplied.

    A mask that would vanish keeps the pixels that lie deepest inside.

    Args:
        grow: pixels by which the edge moves outward.
        feather: pixels on either side of the edge over which it fades (a Gaussian of half as many).
        white: what its white becomes.

    Raises:
        RaihaError: SciPy is missing.
    """
    try:
        from scipy import ndimage
    except ImportError:
        raise RaihaError("Loose masks need SciPy; install it with: pip install 'raiha[bench]'.") from None
    out: NDArray[Any] = mask
    if grow:
        inside = foreground_of(mask)
        depth = ndimage.distance_transform_edt(inside)
        beyond = ndimage.distance_transform_edt(~inside)
        grow = max(grow, 1 - float(depth.max()))
        out = np.clip(grow + np.where(inside, depth, 1 - beyond), 0, 1)
    if feather:
        out = ndimage.gaussian_filter(out.astype(np.float32), feather / 2, mode="nearest")
    return (out * white).astype(np.float32)


def with_loose_mask(run: Harmonise, change: dict[str, float]) -> Harmonise:
    """A method that is handed a loose mask; its result is measured inside the exact one all the same."""

    def loose(composite: Image8, mask: MaskArray, references: Sequence[Any]) -> NDArray[Any]:
        return run(composite, loosened(mask, **change), references)

    return loose
