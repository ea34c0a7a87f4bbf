"""BMP files whose colours lie in bit fields of any place and width, of which Pillow knows the usual ones only."""

from __future__ import annotations

import functools
import operator
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BITFIELDS, _ALPHA_BITFIELDS = 3, 6


def bit_fields(file: Path) -> NDArray[Any] | None:
    """Samples `(H, W, 3 or 4)` of an uncompressed BMP with bit fields, or None where it is another kind.

    uint8, or uint16 where a field has more than 8 bits.

    Raises:
        ValueError: the fields overlap or hold no bits, or the file is too short.
    """
    data = file.read_bytes()
    if data[:2] != b"BM" or len(data) < 70:
        return None
    (start,) = struct.unpack_from("<I", data, 10)
    size, width, height, _, depth, kind = struct.unpack_from("<IiiHHI", data, 14)
    if kind not in (_BITFIELDS, _ALPHA_BITFIELDS) or depth not in (16, 32) or size < 40 or width < 1 or height == 0:
        return None
    # In the oldest header the masks follow it, and only the second kind has one for alpha.
    count = 4 if size >= 56 or kind == _ALPHA_BITFIELDS else 3
    masks = struct.unpack_from(f"<{count}I", data, 14 + 40)
    if count == 4 and not masks[3]:
        masks = masks[:3]
    used = functools.reduce(operator.or_, masks).bit_count()
    if not all(masks) or used < sum(m.bit_count() for m in masks) or max(masks) >= 2**depth:
        raise ValueError("its bit fields are damaged")
    rows, pitch = abs(height), (width * depth + 31) // 32 * 4
    if len(data) < start + rows * pitch:
        raise ValueError("it is truncated")
    raw = np.frombuffer(data, np.uint8, rows * pitch, start).reshape(rows, pitch)[:, : width * depth // 8]
    words = np.ascontiguousarray(raw).view("<u2" if depth == 16 else "<u4")
    if height > 0:  # from the bottom up
        words = words[::-1]
    deep = max(m.bit_count() for m in masks) > 8
    white = 65535 if deep else 255
    samples = np.empty((rows, width, len(masks)), np.uint16 if deep else np.uint8)
    for c, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1
        most = mask >> shift
        if most & (most + 1):
            raise ValueError("its bit fields are damaged")
        samples[..., c] = np.rint(((words & mask) >> shift) * (white / most))
    return samples
