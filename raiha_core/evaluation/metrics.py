"""How far a harmonised picture is from the truth; every function works on the 0..255 scale."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RaihaError

Image8 = NDArray[np.uint8]

FAST = ("mse", "psnr", "fmse", "fpsnr")
"""Metrics that need nothing but NumPy."""
ALL = (*FAST, "ssim", "ciede")
MAX_PSNR = 100.0
"""What two equal pictures get, so that means stay finite."""


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error on the 0..255 scale, at most `MAX_PSNR`."""
    return min(MAX_PSNR, 10 * math.log10(255**2 / mse)) if mse > 0 else MAX_PSNR


def foreground_of(mask: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a mask `(H, W)` in [0, 1] is foreground: above 0.5, as iHarmony4's evaluations do.

    An object so thin that no pixel passes keeps the pixels of at least half its strongest weight.
    """
    inside: NDArray[np.bool_] = mask > 0.5
    if not inside.any() and mask.max() > 0:
        inside = mask >= mask.max() / 2
    return inside


def foreground_mse(result: NDArray[Any], real: NDArray[Any], inside: NDArray[np.bool_]) -> float:
    """fMSE: the mean squared error over the foreground's pixels and the three channels.

    Args:
        result: `(H, W, 3)`, 0..255.
        real: the same shape.
        inside: `(H, W)`, True in the foreground.
    """
    return float(((result[inside].astype(np.float64) - real[inside]) ** 2).mean())


LEAST_NEEDED = 50.0
"""fMSE of a composite below which the share of its change that was made says nothing."""


def share_made(result: NDArray[Any], given: Image8, real: Image8, inside: NDArray[np.bool_]) -> float | None:
    """Which share of the needed change was made: 0 is nothing, 1 all of it; None where hardly any was needed.

    The projection of what was changed on what had to be: `sum (I - C)(T - C) / sum (T - C)^2` over the foreground, with the result I,
    the composite C and the truth T. Doing too little shows here even where the error says little.
    """
    needed = real[inside].astype(np.float64) - given[inside]
    square = float((needed**2).sum())
    if square < LEAST_NEEDED * needed.size:
        return None
    return float(((result[inside].astype(np.float64) - given[inside]) * needed).sum()) / square


def measure(result: Image8, real: Image8, inside: NDArray[np.bool_], names: tuple[str, ...] = ALL) -> dict[str, float]:
    """Measure a result against the truth.

    Args:
        result: `(H, W, 3)` uint8.
        real: the same shape.
        inside: `(H, W)`, True in the foreground, at least one pixel.
        names: which metrics: `mse`, `psnr` (whole picture), `fmse`, `fpsnr` (foreground), `ssim` (whole picture, 7 x 7
            uniform window, mean over channels, scikit-image), `ciede` (mean CIEDE2000 over the foreground, D65).

    Raises:
        RaihaError: scikit-image is needed and not installed, or the picture is too small for SSIM.

    Source: Cong et al., DoveNet (CVPR 2020) for fMSE; Wang et al. 2004 for SSIM; Sharma et al. 2005 for CIEDE2000.
    """
    values: dict[str, float] = {}
    if "mse" in names or "psnr" in names:
        mse = float(((result.astype(np.float32) - real) ** 2).mean(dtype=np.float64))
        values |= {"mse": mse, "psnr": psnr(mse)}
    if "fmse" in names or "fpsnr" in names:
        fmse = foreground_mse(result, real, inside)
        values |= {"fmse": fmse, "fpsnr": psnr(fmse)}
    if "ssim" in names:
        values["ssim"] = _ssim(result, real)
    if "ciede" in names:
        values["ciede"] = _ciede(result[inside], real[inside])
    return {name: values[name] for name in names}


def require_skimage() -> None:
    """Say early that scikit-image is missing.

    Raises:
        RaihaError: it is.
    """
    try:
        import skimage  # noqa: F401
    except ImportError:
        raise RaihaError("SSIM and CIEDE2000 need scikit-image; install it with: pip install 'raiha[bench]'.") from None


def _ssim(result: Image8, real: Image8) -> float:
    require_skimage()
    from skimage import metrics as library

    if min(real.shape[:2]) < 7:
        raise RaihaError("SSIM needs pictures of at least 7 x 7 pixels; leave it out or give larger ones.")
    ssim: Any = library.structural_similarity
    return float(ssim(result, real, channel_axis=2, data_range=255))


def _ciede(result: Image8, real: Image8) -> float:
    require_skimage()
    from skimage import color

    rgb2lab: Any = color.rgb2lab
    difference: Any = color.deltaE_ciede2000
    # Colours as a 1 x N picture, strip by strip: Lab in double precision is eight times the size of the bytes.
    total = 0.0
    for start in range(0, len(real), 2**18):
        part = slice(start, start + 2**18)
        total += float(difference(rgb2lab(result[None, part]), rgb2lab(real[None, part])).sum())
    return total / len(real)
