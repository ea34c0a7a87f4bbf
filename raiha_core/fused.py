"""Whether transforms are applied in one compiled pass: where numba is installed (extra `fast`), and it pays.

The results are the same to the bit, which is tried out before anything is left to the kernel, so nobody need know which way was
taken. Loading numba takes about a second, which is saved over half a gigapixel: a process loads it when it has changed that much.
"""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .image import Mask
from .models.base import AffineMap

log = logging.getLogger(__name__)

Sweep = Callable[[slice, slice], None]
"""Transforms the rows and columns that it is told."""
PAYS = 500_000_000
"""Pixels of pictures that a process has changed when numba is loaded."""

_lock = threading.Lock()
_changed = 0
_found: dict[tuple[str, bool], bool] = {}


def pays(pixels: int) -> bool:
    """Note that so many pixels are to be changed, and say whether so many were that loading numba pays."""
    global _changed
    _changed += pixels
    return _changed > PAYS


def agrees(dtype: np.dtype[Any], planar: bool, check: Callable[[NDArray[Any], Mask, AffineMap], bool]) -> bool:
    """Whether the kernel can be had and does for such samples what torch does; found out once.

    Args:
        dtype: of the samples.
        planar: whether they lie in memory plane by plane.
        check: whether both ways of applying a transform to a picture give the same.
    """
    key = dtype.str, planar
    # While one thread compiles, others go on as before.
    if key not in _found and _lock.acquire(blocking=False):
        try:
            if key not in _found:
                _found[key] = importlib.util.find_spec("numba") is not None and check(*_sample(dtype, planar))
        except Exception:  # whatever numba cannot do here is no reason to fail: there is the other way
            log.debug("Pictures are not changed in one pass.", exc_info=True)
            _found[key] = False
        finally:
            _lock.release()
    return _found.get(key, False)


def _sample(dtype: np.dtype[Any], planar: bool) -> tuple[NDArray[Any], Mask, AffineMap]:
    """A picture in which every sample is changed in its own way, soft, hard, beyond white and below black."""
    rng = np.random.default_rng(0)
    white = 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)
    low, high = (-0.2, 1.4) if dtype.kind == "f" else (0.0, 1.0)
    rgb = (rng.uniform(low, high, (3, 75, 701) if planar else (75, 701, 3)) * white).astype(dtype)
    mask: Mask = rng.uniform(-0.5, 1.5, (75, 701)).clip(0, 1).astype(np.float32)
    matrix = torch.eye(3, 4).reshape(12, 1, 1) + 0.6 * torch.randn(12, 5, 7, generator=torch.Generator().manual_seed(0))
    return rgb.transpose(1, 2, 0) if planar else rgb, mask, AffineMap(matrix)


def sweep(
    transform: AffineMap, x: torch.Tensor, y: torch.Tensor, rgb: NDArray[Any], mask: Mask, out: NDArray[Any], white: float, strength: float
) -> Sweep:
    """The kernel, ready for a picture.

    Args:
        transform: on the CPU.
        x, y: where columns and rows lie, as `AffineMap.along` takes them.
        rgb: the picture's samples `(H, W, 3)`.
        mask: `(H, W)` in [0, 1].
        out: where the result goes; as `rgb`.
        white: the value of white.
        strength: in (0, 1].
    """
    from .fused_kernel import sweep as kernel

    across = transform.across(x, white).flatten(1, 2).numpy()
    cells, beyond = (v.numpy() for v in transform.between(y))
    whole, strong = out.dtype.kind == "u", np.float32(strength)

    def work(rows: slice, columns: slice) -> None:
        box = (rows.start, rows.stop, columns.start, columns.stop)
        kernel(rgb, mask, out, across, cells, beyond, box, np.float32(white), strong, whole)

    return work
