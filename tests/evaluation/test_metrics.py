"""Metrics against values worked out by hand and against scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from raiha_core import RaihaError
from raiha_core.evaluation import ALL, measure
from raiha_core.evaluation.metrics import MAX_PSNR, foreground_of


def test_by_hand() -> None:
    real = np.full((10, 10, 3), 100, np.uint8)
    result = real.copy()
    inside = np.zeros((10, 10), bool)
    inside[:2, :5] = True  # 10 of 100 pixels
    result[:2, :5] = (110, 100, 97)  # squared errors 100, 0, 9
    m = measure(result, real, inside, ("mse", "psnr", "fmse", "fpsnr"))
    assert m["fmse"] == pytest.approx(109 / 3)
    assert m["mse"] == pytest.approx(109 / 30)
    assert m["psnr"] == pytest.approx(10 * math.log10(65025 / (109 / 30)))
    assert m["fpsnr"] == pytest.approx(10 * math.log10(65025 / (109 / 3)))


def test_fmse_sees_the_foreground_only_and_never_wraps() -> None:
    real, result = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    inside = np.zeros((8, 8), bool)
    inside[0, 0] = True
    result[0, 0] = 0
    m = measure(result, real, inside, ("mse", "fmse", "fpsnr"))
    assert m["fmse"] == 0 and m["fpsnr"] == MAX_PSNR
    assert m["mse"] == pytest.approx(255**2 * 63 / 64)


def test_against_scikit_image() -> None:
    rng = np.random.default_rng(1)
    real = rng.integers(0, 256, (30, 20, 3), dtype=np.uint8)
    result = np.clip(real + rng.normal(0, 12, real.shape), 0, 255).astype(np.uint8)
    inside = rng.random((30, 20)) > 0.7
    m = measure(result, real, inside)
    assert tuple(m) == ALL
    assert m["mse"] == pytest.approx(mean_squared_error(real, result))
    assert m["psnr"] == pytest.approx(peak_signal_noise_ratio(real, result))
    assert m["fmse"] == pytest.approx(mean_squared_error(real[inside], result[inside]))
    assert m["ssim"] == pytest.approx(np.mean([structural_similarity(real[..., c], result[..., c]) for c in range(3)]))


def test_ciede2000_of_known_greys() -> None:
    # L* 50 and 0 are sRGB 118.9 and 0 (IEC 61966-2-1); between neutrals CIEDE2000 is dL / S_L with
    # S_L = 1 + 0.015 (L - 50)^2 / sqrt(20 + (L - 50)^2), L their mean (Sharma et al. 2005).
    real, result = np.full((8, 8, 3), 119, np.uint8), np.zeros((8, 8, 3), np.uint8)
    lightness = 116 * (((119 / 255 + 0.055) / 1.055) ** 2.4) ** (1 / 3) - 16
    away = lightness / 2 - 50
    expected = lightness / (1 + 0.015 * away**2 / math.sqrt(20 + away**2))
    inside = np.ones((8, 8), bool)
    assert measure(result, real, inside, ("ciede",))["ciede"] == pytest.approx(expected, abs=0.02)
    assert measure(real, real, inside)["ciede"] == pytest.approx(0, abs=1e-9)


def test_foreground_threshold() -> None:
    mask = np.array([[0.0, 0.5, 0.51, 1.0]], np.float32)
    assert foreground_of(mask).tolist() == [[False, False, True, True]]
    assert foreground_of(mask * 0.4).tolist() == [[False, True, True, True]]  # too thin an object keeps its core
    assert not foreground_of(mask * 0).any()


def test_ssim_of_a_tiny_picture_is_refused() -> None:
    tiny = np.zeros((5, 5, 3), np.uint8)
    with pytest.raises(RaihaError, match="7 x 7"):
        measure(tiny, tiny, np.ones((5, 5), bool))
