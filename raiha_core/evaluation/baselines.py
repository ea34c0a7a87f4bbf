"""What people use without a harmonisation model; each is a plain function of composite and mask.

All but Poisson blending move the colours of the foreground's pixels (mask above 0.5) towards those of the background's
pixels and blend by the mask. They need the extra `bench`.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RaihaError
from .methods import MaskArray, Method
from .metrics import Image8, foreground_of

Colours = NDArray[np.float64]
"""`(N, 3)`, sRGB in [0, 1]."""

COLOR_MATCHER = ("mkl", "hm", "reinhard", "mvgd", "hm-mvgd-hm")
_PAD = 8


def unchanged(composite: Image8, mask: MaskArray, references: Sequence[Any] = ()) -> Image8:
    """The composite as given."""
    return composite


def _library(name: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise RaihaError(f"The baselines need {package}; install it with: pip install 'raiha[bench]'.") from None


def _regions(composite: Image8, mask: MaskArray) -> tuple[NDArray[np.bool_], Colours, Colours]:
    """Where the foreground is, and the colours of foreground and background."""
    inside = foreground_of(mask)
    background = composite[mask <= 0.5]
    if not inside.any() or not len(background):
        raise RaihaError("There is no foreground or no background to take colours from.")
    return inside, composite[inside] / 255.0, background / 255.0


def _blend(composite: Image8, mask: MaskArray, inside: NDArray[np.bool_], moved: Colours) -> Image8:
    """The composite with the foreground's new colours, weighted by the mask; pixels of weight 0.5 or less stay."""
    if not np.isfinite(moved).all():
        raise RaihaError("The method gave NaN or infinite values.")
    out = composite.copy()
    old, weight = composite[inside].astype(np.float64), mask[inside][:, None]
    out[inside] = np.rint(old + weight * (np.clip(moved, 0, 1) * 255 - old)).astype(np.uint8)
    return out


def reinhard_lab(composite: Image8, mask: MaskArray, references: Sequence[Any] = ()) -> Image8:
    """Mean and standard deviation of each CIELAB channel become the background's.

    Source: Reinhard et al., Color Transfer between Images (2001), in CIELAB instead of its l-alpha-beta.
    """
    color: Any = _library("skimage.color", "scikit-image")
    inside, foreground, background = _regions(composite, mask)
    own, goal = color.rgb2lab(foreground[None])[0], color.rgb2lab(background[None])[0]
    scale = goal.std(0) / np.maximum(own.std(0), 1e-6)
    moved = (own - own.mean(0)) * scale + goal.mean(0)
    with warnings.catch_warnings():
        # Colours outside sRGB are clipped; scikit-image would say so for nearly every picture.
        warnings.filterwarnings("ignore", message="Conversion from CIE-LAB")
        rgb = color.lab2rgb(moved[None])[0]
    return _blend(composite, mask, inside, rgb)


def color_matcher(composite: Image8, mask: MaskArray, references: Sequence[Any] = (), *, method: str) -> Image8:
    """A method of the package color-matcher, called as ComfyUI nodes call it (`transfer(..., method=...)`).

    Called that way, its `mvgd` falls back to the Monge-Kantorovich solver, so that `mvgd` and `mkl` agree.

    Args:
        composite: `(H, W, 3)`.
        mask: `(H, W)`.
        references: not used.
        method: one of `COLOR_MATCHER`.
    """
    library: Any = _library("color_matcher", "color-matcher")
    inside, foreground, background = _regions(composite, mask)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        # A single colour has no covariance: what comes of it is checked below.
        warnings.simplefilter("ignore", RuntimeWarning)
        moved = library.ColorMatcher().transfer(src=foreground[None].copy(), ref=background[None].copy(), method=method)
    if np.iscomplexobj(moved):  # eigenvalues from NumPy 2.5 on always are, also where they are real
        if (np.abs(moved.imag) > 1e-3).any():
            raise RaihaError("The method gave complex numbers.")
        moved = moved.real
    return _blend(composite, mask, inside, np.asarray(moved, np.float64)[0])


def match_histograms(composite: Image8, mask: MaskArray, references: Sequence[Any] = ()) -> Image8:
    """Each channel's histogram becomes the background's (scikit-image)."""
    exposure: Any = _library("skimage.exposure", "scikit-image")
    inside, foreground, background = _regions(composite, mask)
    moved = exposure.match_histograms(foreground[None], background[None], channel_axis=-1)[0]
    return _blend(composite, mask, inside, moved)


def poisson(composite: Image8, mask: MaskArray, references: Sequence[Any] = ()) -> Image8:
    """Poisson blending (OpenCV's `seamlessClone`) of the foreground into the composite.

    The source's pixels around the foreground are the nearest foreground colours: the composite itself as the source would
    carry the edge between the two regions along and give itself back. Only the foreground's pixels are taken over.

    Source: Perez et al., Poisson Image Editing (2003).
    """
    cv2: Any = _library("cv2", "opencv-python-headless")
    ndimage: Any = _library("scipy.ndimage", "scipy")
    inside, _, _ = _regions(composite, mask)
    # A frame, since seamlessClone cannot treat a mask at the border.
    padded = np.pad(composite, ((_PAD, _PAD), (_PAD, _PAD), (0, 0)), mode="edge")
    where = np.pad(inside, _PAD)
    nearest = ndimage.distance_transform_edt(~where, return_distances=False, return_indices=True)
    source = np.ascontiguousarray(padded[tuple(nearest)])
    # seamlessClone erodes its mask three times; one more pixel lets the blend meet the background.
    grown = cv2.dilate(where.astype(np.uint8) * 255, np.ones((3, 3), np.uint8), iterations=4)
    x, y, width, height = cv2.boundingRect(grown)
    centre = (x + width // 2, y + height // 2)
    blended = cv2.seamlessClone(source, padded, grown, centre, cv2.NORMAL_CLONE)[_PAD:-_PAD, _PAD:-_PAD]
    return _blend(composite, mask, inside, blended[inside] / 255.0)


def baselines() -> list[Method]:
    """Every baseline, the composite as given not among them.

    Raises:
        RaihaError: a library is not installed.
    """
    for name, package in (
        ("skimage", "scikit-image"),
        ("cv2", "opencv-python-headless"),
        ("scipy", "scipy"),
        ("color_matcher", "color-matcher"),
    ):
        _library(name, package)
    matchers: list[tuple[str, Callable[..., Image8]]] = [
        (f"color-matcher {m}", functools.partial(color_matcher, method=m)) for m in COLOR_MATCHER
    ]
    return [
        Method(name, run)
        for name, run in (("Reinhard (Lab)", reinhard_lab), *matchers, ("histograms", match_histograms), ("Poisson", poisson))
    ]
