"""Colour spaces of files: what a model sees is sRGB, what is written stays in the file's own space.

The engine is LittleCMS, in floating point. Nearly all profiles of pictures are a curve per channel and a matrix; those are
asked once for both, so that pictures of tens of megapixels go there and back in torch, colours beyond sRGB included. What
is more than that, such as the tables of scanners and printers, goes through LittleCMS strip by strip.
"""

from __future__ import annotations

import contextlib
import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .colour import linear_to_srgb, srgb_to_linear

Array = NDArray[Any]
STEPS = 4096
"""Intervals at which a profile's curves are known."""
_ALIKE = 2e-3
"""Spaces that differ less than this from sRGB are sRGB: half an 8-bit step."""
_D65 = (0.3127, 0.3290)
_SRGB_PRIMARIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)


class Space(ABC):
    """An RGB space (or grey, three times over); tensors are `(B, 3, h, w)` float32, nominal range [0, 1]."""

    @abstractmethod
    def to_srgb(self, rgb: Tensor) -> Tensor:
        """The space's colours in sRGB; those beyond its gamut lie outside [0, 1], the curve mirrored below 0."""

    @abstractmethod
    def from_srgb(self, rgb: Tensor) -> Tensor:
        """Inverse of `to_srgb`."""

    def moved(self, own: Tensor, srgb: Tensor, changed: Tensor) -> Tensor:
        """Colours `own`, which are `srgb` in sRGB, after a change to `changed`; exactly `own` where nothing changed."""
        return own + (self.from_srgb(changed) - self.from_srgb(srgb))


def encode(linear: Tensor) -> Tensor:
    """sRGB's curve, mirrored below 0."""
    return linear.sign() * linear_to_srgb(linear.abs())


def decode(rgb: Tensor) -> Tensor:
    """Inverse of `encode`."""
    return rgb.sign() * srgb_to_linear(rgb.abs())


def decode_curve() -> Array:
    """sRGB's curve as a table of light, for `make_profile`."""
    return srgb_to_linear(torch.linspace(0, 1, STEPS)).numpy()


@dataclass(frozen=True)
class MatrixSpace(Space):
    """Curves and a matrix.

    Attributes:
        forward: `(3, STEPS + 1)`: a channel's value, encoded as sRGB encodes, at even steps of the file's value.
        backward: `(3, STEPS + 1)`: the file's value at even steps of the encoded one.
        slope: `(3,)`: d linear / d value at 1, along which the curves go on beyond it.
        matrix: `(3, 3)`: the file's linear colours to those of sRGB.
    """

    forward: Tensor
    backward: Tensor
    slope: Tensor
    matrix: Tensor

    def to_srgb(self, rgb: Tensor) -> Tensor:
        """See `Space.to_srgb`."""
        size, slope = rgb.abs(), self.slope.to(rgb)[:, None, None]
        light = torch.where(size > 1, 1 + (size - 1) * slope, srgb_to_linear(_looked_up(self.forward, size)))
        return encode(torch.einsum("ij,bjhw->bihw", self.matrix.to(rgb), rgb.sign() * light))

    def from_srgb(self, rgb: Tensor) -> Tensor:
        """See `Space.from_srgb`."""
        light = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(self.matrix).to(rgb), decode(rgb))
        size, slope = light.abs(), self.slope.to(rgb)[:, None, None]
        value = torch.where(size > 1, 1 + (size - 1) / slope, _looked_up(self.backward, linear_to_srgb(size)))
        return light.sign() * value


def _looked_up(curves: Tensor, at: Tensor) -> Tensor:
    """`curves` `(3, n + 1)` at positions `(B, 3, h, w)`, in [0, 1], linear in between."""
    curves = curves.to(at)
    steps = curves.shape[1] - 1
    place = at.clamp(0, 1) * steps
    low = place.long().clamp_max(steps - 1)
    planes = []
    for c in range(3):
        left, right = curves[c][low[:, c]], curves[c][low[:, c] + 1]
        planes.append(torch.lerp(left, right, place[:, c] - low[:, c]))
    return torch.stack(planes, 1)


@dataclass(frozen=True)
class EngineSpace(Space):
    """Any profile, through LittleCMS pixel by pixel."""

    icc: bytes
    grey: bool

    def to_srgb(self, rgb: Tensor) -> Tensor:
        """See `Space.to_srgb`."""
        return encode(self._through(rgb, self.icc, _linear_srgb(), self.grey, False))

    def from_srgb(self, rgb: Tensor) -> Tensor:
        """See `Space.from_srgb`."""
        return self._through(decode(rgb), _linear_srgb(), self.icc, False, self.grey)

    def _through(self, rgb: Tensor, source: bytes, target: bytes, grey_in: bool, grey_out: bool) -> Tensor:
        pixels = rgb.permute(0, 2, 3, 1).reshape(1, -1, 3).cpu().numpy()
        out = _convert(pixels[..., 0] if grey_in else pixels, source, target, grey_in, grey_out)
        out = np.repeat(out[..., None], 3, 2) if grey_out else out
        return torch.from_numpy(out).reshape(rgb.shape[0], *rgb.shape[2:], 3).permute(0, 3, 1, 2).to(rgb)


def _convert(pixels: Array, source: bytes, target: bytes, grey_in: bool = False, grey_out: bool = False) -> Array:
    import imagecodecs

    kinds = ["gray" if grey else "rgb" for grey in (grey_in, grey_out)]
    data = np.ascontiguousarray(pixels, np.float32)
    out = imagecodecs.cms_transform(data, source, target, colorspace=kinds[0], outcolorspace=kinds[1], outdtype=np.float32)
    return np.asarray(out).reshape(*data.shape[:2], *(() if grey_out else (3,)))


def inks_to_srgb(inks: Array, icc: bytes | None) -> Array:
    """16-bit cyan, magenta, yellow and black `(H, W, 4)` as 16-bit sRGB, by their profile; plainly where there is none that serves."""
    import imagecodecs

    if icc and icc[16:20] == b"CMYK":
        with contextlib.suppress(RuntimeError, TypeError):
            srgb = make_profile(1.0, _D65, _SRGB_PRIMARIES, decode_curve())
            given = np.ascontiguousarray(inks)
            return np.asarray(imagecodecs.cms_transform(given, icc, srgb, colorspace="cmyk", outcolorspace="rgb", outdtype=np.uint16))
    paper = 65535 - inks.astype(np.uint32)
    plain: Array = ((paper[..., :3] * paper[..., 3:] + 32767) // 65535).astype(np.uint16)
    return plain


@functools.cache
def _linear_srgb() -> bytes:
    return make_profile(1.0, _D65, _SRGB_PRIMARIES)


def make_profile(
    gamma: float, white: tuple[float, ...], primaries: tuple[float, ...], curve: Array | None = None, grey: bool = False
) -> bytes:
    """An ICC profile of a white point (x, y) and primaries (rx, ry, gx, gy, bx, by), and a power `gamma` or a `curve` of light
    at even steps of the value.

    Raises:
        ValueError: no such space can be.
    """
    import imagecodecs

    how: dict[str, Any] = {"gamma": gamma} if curve is None else {"transferfunction": curve}
    try:
        if grey:
            return bytes(imagecodecs.cms_profile("gray", whitepoint=[*white, 1.0], **how))
        xyy = [v for i in range(3) for v in (*primaries[2 * i : 2 * i + 2], 1.0)]
        return bytes(imagecodecs.cms_profile("rgb", whitepoint=[*white, 1.0], primaries=xyy, **how))
    except (RuntimeError, TypeError) as error:
        raise ValueError("no such colour space") from error


@functools.lru_cache(maxsize=16)
def space_of(icc: bytes | None, grey: bool = False) -> Space | None:
    """The space of a profile; None where it is sRGB, or there is none.

    Raises:
        ValueError: the profile is damaged, or not one of RGB (of grey, for `grey`).
    """
    if not icc:
        return None
    if icc[16:20] != (b"GRAY" if grey else b"RGB "):
        raise ValueError("the profile is of another kind of colours")
    try:
        return _grey_space(icc) if grey else _rgb_space(icc)
    except (RuntimeError, TypeError, np.linalg.LinAlgError) as error:
        raise ValueError("the profile is damaged") from error


def _finite(array: Array) -> Array:
    if not np.isfinite(array).all() or np.abs(array).max() > 100:
        raise ValueError("the profile is damaged")
    return array


def _light(values: Array, icc: bytes, grey: bool = False) -> Array:
    return _finite(_convert(values, icc, _linear_srgb(), grey_in=grey))


def _rgb_space(icc: bytes) -> Space | None:
    level = np.linspace(0, 1, 6, dtype=np.float32)
    probe = np.stack(np.meshgrid(level, level, level), -1).reshape(1, -1, 3)
    seen = _light(probe, icc)
    shown = encode(torch.from_numpy(seen)).numpy()
    if np.abs(shown - probe).max() < _ALIKE:
        return None
    fallback = EngineSpace(icc, False)
    _finite(_convert(seen, _linear_srgb(), icc))  # some profiles go one way only
    values = np.linspace(0, 1, STEPS + 1, dtype=np.float32)
    matrix, curves = np.zeros((3, 3)), np.zeros((3, STEPS + 1))
    for c in range(3):
        alone = np.zeros((1, STEPS + 1, 3), np.float32)
        alone[0, :, c] = values
        light = _light(alone, icc)[0].astype(np.float64)
        matrix[:, c] = light[-1]
        strongest = int(np.abs(light[-1]).argmax())
        curves[c] = light[:, strongest] / light[-1, strongest] if light[-1, strongest] else values
    space = _matrix_space(matrix, curves)
    if space is None:
        return fallback
    shaped = space.to_srgb(torch.from_numpy(probe).permute(0, 2, 1)[..., None])[..., 0].permute(0, 2, 1).numpy()
    return space if np.abs(shaped - shown).max() < _ALIKE else fallback


def _grey_space(icc: bytes) -> Space | None:
    values = np.linspace(0, 1, STEPS + 1, dtype=np.float32)
    light = _light(values[None], icc, grey=True)[0, :, 1].astype(np.float64)
    if np.abs(encode(torch.from_numpy(light)).numpy() - values).max() < _ALIKE:
        return None
    return _matrix_space(np.eye(3), np.repeat(light[None], 3, 0)) or EngineSpace(icc, True)


def _matrix_space(matrix: Array, curves: Array) -> MatrixSpace | None:
    """None where the curves cannot be followed backwards: not rising, or not from black to white."""
    rising = (np.diff(curves) >= -1e-7).all() and (curves[:, -1] - curves[:, 0] > 0.5).all() and np.abs(curves[:, 0]).max() < 1e-3
    if not rising or abs(np.linalg.det(matrix)) < 1e-4 or np.abs(curves[:, -1] - 1).max() > 1e-2:
        return None
    values = np.linspace(0, 1, STEPS + 1)
    encoded = encode(torch.from_numpy(np.maximum.accumulate(curves, 1).clip(0, 1))).numpy()
    backward = np.stack([np.interp(values, e, values) for e in encoded])
    slope = ((curves[:, -1] - curves[:, -9]) / 8 * STEPS).clip(0.05, 20)
    return MatrixSpace(*(torch.from_numpy(x).float() for x in (encoded, backward, slope, matrix)))
