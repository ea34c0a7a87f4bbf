"""Samples of depths that few programs write: signed, of 9 to 15 bits, of 24 bits and more."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RaihaError


def unsigned(array: NDArray[Any], name: str, bits: int | None = None) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Integer samples as unsigned ones of 8 or 16 bits, and what to say of it.

    Without a word where they are that already. What counts to 255 is kept in 8 bits, whatever room it had; what fits into 16
    bits and more than half fills them is kept as it is; the rest is stretched from its own white to that of 16 bits.

    Args:
        array: of any shape and integer type.
        name: how errors call the picture.
        bits: how many bits of a sample count, where these are fewer than its type has.

    Raises:
        RaihaError: negative samples.
    """
    own = array.dtype.itemsize * 8
    signed = array.dtype.kind == "i"
    bits = min(bits or own, own)
    if not signed and bits in (8, 16) and own == bits:
        return array, ()
    least, top = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if least < 0:
        raise RaihaError(f"{name} has negative samples, down to {least}, which no picture has; shift and scale them to 0 and more.")
    white = 2 ** (bits - signed) - 1
    what = f"{name} has {'signed ' if signed else ''}{bits}-bit samples"
    if top <= 255 and own == bits:  # who says 12 bits means 12
        return array.astype(np.uint8), (f"{what} up to {top}, so 255 was taken for white.",)
    if bits > 16 and top <= 65535:
        return array.astype(np.uint16), (f"{what} up to {top}, so 65535 was taken for white.",)
    stretched = np.empty(array.shape, np.uint16)
    step = max(1, 2**20 // max(1, array[:1].size))
    for row in range(0, len(array), step):  # as floats it takes four times the memory
        stretched[row : row + step] = np.rint(array[row : row + step] * (65535 / white))
    return stretched, (f"{what}; they were {'stretched' if bits <= 16 else 'rounded'} to 16 bits.",)
