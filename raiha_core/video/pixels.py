"""Frames of PyAV as planes and as colours: what lies outside a mask keeps its samples, Y, U and V, as the file has them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image import Mask

Planes = list[NDArray[Any]]
"""Y, U, V, each `(h, w)`, upright."""

FORMATS = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")
"""Kinds of samples that stay as they are; others are brought to the nearest of these first."""
LIMITED, FULL = 1, 2
"""Ranges of samples, as in ITU-T H.273 by way of FFmpeg."""
# libswscale's numbers of colour matrices, by those of ITU-T H.273 in a frame.
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_LINE = 64
"""Samples that are converted at once, at most."""
_NEUTRAL = 16
"""Of 255, how far chroma may lie from grey where a mask is grey: it was stored with losses."""


def turns(frame: Any) -> int:
    """Quarter turns, anticlockwise, that bring a frame upright, from 0 to 3."""
    angle = int(frame.rotation or 0)
    return angle // 90 % 4 if angle % 90 == 0 else 0


def matrix(frame: Any) -> int:
    """libswscale's number of the matrix between a frame's YUV and RGB; where the file says none, what players take by its size."""
    return _MATRICES.get(int(frame.colorspace), 1 if frame.height >= 720 else 5)


def colour_range(frame: Any) -> int:
    """`FULL` or `LIMITED`."""
    full = int(frame.color_range) == FULL or frame.format.name.startswith("yuvj") or frame.format.is_rgb
    return FULL if full else LIMITED


def handed_on(frame: Any) -> str:
    """The kind of samples that a frame is encoded in: its own, or the nearest that there is."""
    name, components = frame.format.name, frame.format.components
    odd = frame.width % 2 or frame.height % 2
    # Half as many columns of chroma would be half as many rows once turned.
    whole = "444" in name or (not odd and not (turns(frame) % 2 and "422" in name))
    if name in FORMATS and whole:
        return str(name)
    coloured = len(components) > 2 and not frame.format.is_rgb
    sampling = "444" if odd or (coloured and components[1].width == frame.width) or "422" in name else "420"
    return f"yuv{sampling}p10le" if max(c.bits for c in components) > 8 else f"yuv{sampling}p"


def planes(frame: Any, kind: str, limits: int) -> Planes:
    """The samples of a frame in a kind of `FORMATS` and a range; not to be changed."""
    if frame.format.name != kind:
        code = matrix(frame)
        frame = frame.reformat(
            format=kind, src_colorspace=code, dst_colorspace=code, src_color_range=colour_range(frame), dst_color_range=limits
        )
    return [np.rot90(_plane(p, kind), turns(frame)) for p in frame.planes]


def _plane(plane: Any, kind: str) -> NDArray[Any]:
    """A plane's samples without the padding of its lines."""
    dtype = np.dtype("<u2") if kind.endswith("le") else np.dtype(np.uint8)
    lines = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype.itemsize)
    return lines[: plane.height, : plane.width]


def colours(frame: Any) -> NDArray[Any]:
    """A frame as RGB `(H, W, 3)`, upright: uint8, or uint16 where its samples are deeper."""
    deep = max(c.bits for c in frame.format.components) > 8
    rgb = frame.reformat(
        format="rgb48le" if deep else "rgb24", src_colorspace=matrix(frame), src_color_range=colour_range(frame), dst_color_range=FULL
    )
    return np.ascontiguousarray(np.rot90(rgb.to_ndarray(), turns(frame)))


def brightness(frame: Any) -> NDArray[np.float32]:
    """A frame of masks `(H, W)`, white at 1: its brightest channel, since masks are painted in any colour."""
    name = frame.format.name
    if name in FORMATS and not name.endswith("le"):
        luma, *chroma = (_plane(p, name) for p in frame.planes)
        if all(abs(int(v) - 128) <= _NEUTRAL for c in chroma for v in (c.min(), c.max())):
            low, high = (0, 255) if colour_range(frame) == FULL else (16, 235)
            grey = (luma.astype(np.float32) - low) / (high - low)
            upright: NDArray[np.float32] = np.ascontiguousarray(np.rot90(grey.clip(0, 1), turns(frame)))
            return upright
    rgb = colours(frame)
    bright: NDArray[np.float32] = rgb.max(2).astype(np.float32) / np.float32(np.iinfo(rgb.dtype).max)
    return bright


def alpha(frame: Any) -> NDArray[np.float32] | None:
    """A frame's alpha `(H, W)`, opaque at 1; None where its kind has none."""
    if not any(c.is_alpha for c in frame.format.components):
        return None
    rgba = frame.reformat(format="rgba").to_ndarray()[:, :, 3]
    return np.ascontiguousarray(np.rot90(rgba, turns(frame))).astype(np.float32) / np.float32(255)


def changed(av: Any, old: Planes, kind: str, limits: int, code: int, before: NDArray[Any], after: NDArray[Any], mask: Mask) -> Planes:
    """The samples of a frame, moved where a mask is as its colours were: those of chroma where it touches what they belong to.

    What the way to RGB and back does by itself is not done to them.

    Args:
        av: PyAV.
        old: the frame's samples.
        kind: of `FORMATS`.
        limits: `FULL` or `LIMITED`.
        code: as `matrix`.
        before: its colours `(H, W, 3)`.
        after: its new colours.
        mask: `(H, W)`, not empty.
    """
    rows, columns = np.flatnonzero(mask.max(1) > 0), np.flatnonzero(mask.max(0) > 0)
    # On even pixels, so that samples of chroma are whole.
    top, left = int(rows[0]) // 2 * 2, int(columns[0]) // 2 * 2
    bottom, right = (min(int(last) // 2 * 2 + 2, side) for last, side in zip((rows[-1], columns[-1]), mask.shape, strict=True))
    place = slice(top, bottom), slice(left, right)
    inside = mask[place] > 0
    from_rgb = partial(_from_rgb, av, kind, limits, code)
    merged, most = [], 1023 if kind.endswith("le") else 255
    for plane, was, becomes in zip(old, from_rgb(before[place]), from_rgb(after[place]), strict=True):
        down, across = mask.shape[0] // plane.shape[0], mask.shape[1] // plane.shape[1]
        h, w = was.shape
        touched = inside.reshape(h, down, w, across).any((1, 3)) if down * across > 1 else inside
        whole = plane.copy()
        part = whole[top // down : top // down + h, left // across : left // across + w]
        moved = np.clip(part.astype(np.int32) + becomes - was, 0, most)
        part[touched] = moved[touched]
        merged.append(whole)
    return merged


def _from_rgb(av: Any, kind: str, limits: int, code: int, rgb: NDArray[Any]) -> list[NDArray[np.int32]]:
    """Colours `(h, w, 3)` as the samples of a kind. Lines are filled up: libswscale reads some samples beyond the last one."""
    width = rgb.shape[1]
    wide = np.pad(rgb, ((0, 0), (0, -width % _LINE), (0, 0)), "edge")
    frame = av.VideoFrame.from_ndarray(wide, "rgb48le" if rgb.dtype == np.uint16 else "rgb24")
    moved = frame.reformat(format=kind, src_color_range=FULL, dst_colorspace=code, dst_color_range=limits)
    return [_plane(p, kind)[:, : -(-width * p.width // wide.shape[1])].astype(np.int32) for p in moved.planes]


def to_frame(av: Any, samples: Planes, kind: str) -> Any:
    """A frame of these samples."""
    height, width = samples[0].shape
    frame = av.VideoFrame(width, height, kind)
    for plane, values in zip(frame.planes, samples, strict=True):
        _plane(plane, kind)[:] = values
    return frame
