"""A picture in memory with everything a file said about it."""

from __future__ import annotations

import numbers
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import RaihaError
from ..parallel import extremes
from .spaces import Space, space_of

Pixels = NDArray[Any]
"""`(H, W, 3)` uint8, uint16 or float32."""


@dataclass(frozen=True)
class Picture:
    """Pixels in their native depth, with alpha and metadata.

    Attributes:
        rgb: `(H, W, 3)`; uint8 and uint16 span their whole range, float32 has white at 1 and may exceed it.
        alpha: `(H, W)` in the same dtype, or None.
        icc: ICC profile of `rgb`, or None.
        exif: EXIF block, its orientation reset, since it has been applied; or None.
        grey: the picture has no colour: its three channels are equal, stay so, and are written as one.
        premultiplied: the colours are multiplied by alpha already, as in some TIFFs.
        white: the sample value of white where it is not what the dtype says, as in float pictures that count to 255.
        orientation: the EXIF orientation (1 to 8) that was applied in reading.
        chunks: what a PNG said beside its pixels, kind and whole chunk, to be written to a PNG; those about colours say there what
            `icc` says elsewhere.
        notices: what reading found that the user should know.
        xmp: XMP packet, or None; its orientation is reset with that of EXIF.
    """

    rgb: Pixels
    alpha: Pixels | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    grey: bool = False
    premultiplied: bool = False
    white: float | None = None
    orientation: int = 1
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    notices: tuple[str, ...] = ()
    xmp: bytes | None = None

    @property
    def scale(self) -> float:
        """The sample value of white."""
        return full_scale(self.rgb) if self.white is None else self.white

    @property
    def space(self) -> Space | None:
        """The colour space of `rgb`; None for sRGB, which is also what a picture without a profile, or with a damaged one, counts as."""
        try:
            return space_of(self.icc, self.grey)
        except ValueError:
            return None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.rgb.shape[0], self.rgb.shape[1]

    def rgb_tensor(self) -> Tensor:
        """`(1, 3, H, W)` float32 sRGB, nominal range [0, 1]; colours beyond sRGB lie outside it."""
        own = torch.from_numpy(np.ascontiguousarray(self.rgb.transpose(2, 0, 1), np.float32))[None] / self.scale
        return own if self.space is None else self.space.to_srgb(own)

    def with_rgb(self, rgb: Pixels) -> Picture:
        """The same picture with other colours."""
        return replace(self, rgb=rgb)

    def native(self) -> Pixels:
        """`(H, W, C)` with the channels of a file: one for grey, three for colour, and alpha if there is any."""
        colours = self.rgb[:, :, :1] if self.grey else self.rgb
        if self.alpha is None:
            return np.ascontiguousarray(colours)
        return np.dstack([colours, self.alpha])

    def straight(self) -> Picture:
        """The picture with colours that are not multiplied by alpha, as all formats but TIFF want them."""
        if not self.premultiplied or self.alpha is None:
            return self
        white = self.scale
        rgb = self.rgb / np.maximum(self.alpha, 1 if white > 1 else 1e-6).astype(np.float32)[..., None] * np.float32(white)
        rgb = rgb if self.rgb.dtype == np.float32 else np.clip(np.rint(rgb), 0, white)
        return replace(self, rgb=rgb.astype(self.rgb.dtype), premultiplied=False)

    def pil(self) -> Image.Image:
        """An 8-bit PIL image (L, LA, RGB or RGBA) with the metadata in `info`; deeper samples are rounded."""
        samples = to_8_bit(self.straight().native(), self.white)
        image = Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)
        image.info.update({key: value for key, value in (("icc_profile", self.icc), ("exif", self.exif)) if value})
        return image


_DEPTHS = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))


def checked(picture: Picture, name: str) -> Picture:
    """A picture that somebody made, if it holds what a picture holds.

    Raises:
        RaihaError: it does not.
    """
    rgb: Any = picture.rgb
    alpha: Any = picture.alpha
    if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size or rgb.dtype not in _DEPTHS:
        shown = f"{rgb.dtype} of shape {rgb.shape}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise RaihaError(f"{name} has an rgb that is {shown}; make pictures with from_array, or give uint8, uint16 or float32 (H, W, 3).")
    if alpha is not None and (not isinstance(alpha, np.ndarray) or alpha.shape != rgb.shape[:2] or alpha.dtype != rgb.dtype):
        raise RaihaError(f"{name} has an alpha that does not fit its colours; give (H, W) of the same type.")
    for key in ("icc", "exif", "xmp"):
        value: Any = getattr(picture, key)
        if not (value is None or isinstance(value, bytes)):
            raise RaihaError(f"{name} has {key} that is a {type(value).__name__}; give bytes or None.")
    white: Any = picture.white
    if white is not None and not (isinstance(white, numbers.Real) and 0 < float(white) < float("inf")):
        raise RaihaError(f"{name} has the white {white!r:.40}; give a positive number or None.")
    if not isinstance(picture.notices, tuple) or not isinstance(picture.chunks, tuple):
        raise RaihaError(f"{name} has notices or chunks that are no tuples; leave them out.")
    return picture


def as_path(path: Any) -> Path:
    """A path, checked.

    Raises:
        RaihaError: it is none.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise RaihaError(f"The path is a {type(path).__name__}; give text or a pathlib.Path.")
    return Path(path)


def full_scale(array: Pixels) -> float:
    """The value of white: 255, 65535, or 1 for float."""
    return float(np.iinfo(array.dtype).max) if np.issubdtype(array.dtype, np.integer) else 1.0


def to_8_bit(array: Pixels, white: float | None = None) -> NDArray[np.uint8]:
    """Rounded to 8 bits, clipped; `white` as in `Picture`."""
    if array.dtype == np.uint8:
        return array
    rounded: NDArray[np.uint8] = np.clip(np.rint(array.astype(np.float32) * (255 / (white or full_scale(array)))), 0, 255).astype(np.uint8)
    return rounded


_BRIGHT = 16.0
"""Ordinary highlights lie below this multiple of white: a float picture of which a quarter lies above counts in integers."""


def _float_white(colours: Pixels, name: str) -> tuple[float | None, tuple[str, ...]]:
    """The value of white in a float picture, None where it is 1, and what to say: some programs save 0 to 255 as floats.

    Raises:
        RaihaError: the numbers are far beyond those of a picture.
    """
    top = float(colours.max())
    if top <= _BRIGHT:  # then alpha alone lies above
        return None, ()
    step = max(1, colours.size // 2**20)
    if float(np.quantile(colours.reshape(-1)[::step], 0.75)) <= _BRIGHT:
        return None, ()
    white = 255.0 if top <= 260 else 65535.0
    if top > 1.01 * white:
        raise RaihaError(f"{name} has floating-point samples up to {top:.3g}; scale them so that white is 1.")
    return white, (f"{name} has floating-point samples up to {top:.4g}, so {white:.0f} was taken for white.",)


def from_array(array: NDArray[Any], name: str = "The picture", *, thin: bool = False) -> Picture:
    """A picture from an array `(H, W)`, `(H, W, 1)`, `(H, W, 2)`, `(H, W, 3)` or `(H, W, 4)`; an even channel count ends in alpha.

    Args:
        array: uint8, uint16, bool, or any float (stored as float32).
        name: how errors call it.
        thin: what is grey becomes three channels that are one in memory and cannot be written to.

    Raises:
        RaihaError: another shape or dtype, no pixels, NaN or infinite values.
    """
    array = np.asarray(array)  # matrices and masked arrays index in ways of their own
    top = 0.0
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4):
        raise RaihaError(f"{name} has shape {array.shape}; give (height, width, 3), with a fourth channel for alpha.")
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise RaihaError(f"{name} has no pixels; give a picture of at least 1 x 1.")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32, copy=False)
        # The extremes carry NaN and infinity along, without a picture-sized temporary.
        least, top = extremes(array)
        if not (np.isfinite(least) and np.isfinite(top)):
            raise RaihaError(f"{name} holds NaN or infinite values; repair them first, since no colour can be computed from them.")
    elif array.dtype not in (np.uint8, np.uint16):
        raise RaihaError(f"{name} has samples of type {array.dtype}; use uint8, uint16 or float32.")
    channels = array.shape[2]
    alpha = np.ascontiguousarray(array[:, :, -1]) if channels in (2, 4) else None
    if channels >= 3:
        colours = array[:, :, :3]
        # Planes, as tensors have them, are as good as pixels: turning a large picture takes longer than harmonising it.
        if not colours.transpose(2, 0, 1).flags.c_contiguous:
            colours = np.ascontiguousarray(colours)
    elif thin:
        colours = np.broadcast_to(array[:, :, :1], (*array.shape[:2], 3))
    else:
        colours = np.repeat(array[:, :, :1], 3, axis=2)
    white, notices = _float_white(colours, name) if top > _BRIGHT else (None, ())
    return Picture(colours, alpha, grey=channels < 3, white=white, notices=notices)
